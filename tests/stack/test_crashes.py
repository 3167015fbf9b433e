"""The same equality after kill -9 of each process in mid-stream: 2 seeded schedules in CI, 20 with --soak."""

import pytest

from tests.stack.compare import differences, oracle_of
from tests.stack.crashes import CHECKPOINT_S, OUTLIVED, RESTARTING, drive, schedule
from tests.stack.running import Stack
from tests.streams.clicks import DAY_MS, Stream, combined, sweepers
from tests.streams.dirty import ACTIONS, soiled

pytestmark = pytest.mark.stack
EVENTS = 40_000
TRIES = 3


@pytest.fixture(scope="module")
def stream() -> Stream:
    return combined(list(ACTIONS))[:EVENTS]


def test_a_pair_of_schedules_kills_every_target() -> None:
    for seed in range(0, 20, 2):
        targets = [kill.target for n in (seed, seed + 1) for kill in schedule(n).kills]
        assert sorted(targets) == sorted(RESTARTING + OUTLIVED)


def test_everything_equals_the_oracle_after_kills(
    stack: Stack, stream: Stream, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_FLINK__CHECKPOINT_INTERVAL_S", str(CHECKPOINT_S))
    plan = schedule(seed)
    for _ in range(TRIES):
        stack.reset()
        stack.submit("--parallelism", f"{plan.parallelism}", "--state-backend", plan.state_backend)
        bites = drive(stack, list(soiled(stream)), plan.kills, seed)
        stack.send(sweepers(stream[-1][0] + DAY_MS, stack.settings.kafka.partitions))
        stack.settle()
        oracle = oracle_of(stack.settings)
        assert oracle.at_risk == 0
        assert not differences(stack.settings, oracle), plan
        print(plan, *bites, sep="\n  ")
        if all(bite.counts() for bite in bites):
            return
    pytest.fail(f"after {TRIES} tries some kill still did not bite: {bites}")
