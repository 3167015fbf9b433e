"""A TaskManager that pauses while another works writes nothing stale when it wakes: 1 schedule, 20 with --soak."""

import random
from dataclasses import replace
from threading import Thread

import pytest

from headrace.infra.clients import flink
from tests.stack.compare import differences, oracle_of
from tests.stack.crashes import Sender
from tests.stack.running import Stack, wait
from tests.stack.spare import paused_taskmanager, spare_taskmanager
from tests.streams.clicks import DAY_MS, Stream, combined, sweepers
from tests.streams.dirty import ACTIONS, soiled

pytestmark = pytest.mark.stack
EVENTS = 40_000
CHECKPOINT_S = 2
TAKEN_OVER_S = 120


@pytest.fixture(scope="module")
def stream() -> Stream:
    return combined(list(ACTIONS))[:EVENTS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("pause", range(20 if metafunc.config.getoption("soak") else 1))


def test_a_paused_taskmanager_writes_nothing_stale(
    stack: Stack, stream: Stream, pause: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sleeps in mid-stream, with values on their way; its successor writes newer ones; then it wakes."""
    monkeypatch.setenv("HEADRACE_FLINK__CHECKPOINT_INTERVAL_S", str(CHECKPOINT_S))
    rng = random.Random(pause)
    stack.reset()
    stack.submit("--parallelism", "1", "--state-backend", rng.choice(("hashmap", "rocksdb")))
    sender = Sender(stack, list(soiled(stream)))
    sender.keep_step(rng.uniform(0.1, 0.3))
    with spare_taskmanager(stack) as metrics_at:
        successor = replace(stack, metrics_at=metrics_at)
        wait(lambda: slots(stack) == 2 * stack.settings.stack.slots, 60, lambda: f"{slots(stack)} slots")
        sending = Thread(target=sender.send, args=(len(sender.records) // 2,))
        sending.start()
        with paused_taskmanager():
            before = stack.checkpoints()
            wait(
                lambda: successor.consumed() > 0 and successor.checkpoints() > before,
                TAKEN_OVER_S,
                lambda: "no successor",
            )
            sending.join()
        wait(lambda: slots(stack) == 2 * stack.settings.stack.slots, 60, lambda: "the paused one is not back")
        sender.send(len(sender.records))
        sender.close()
        stack.send(sweepers(stream[-1][0] + DAY_MS, stack.settings.kafka.partitions))
        successor.settle()
        assert successor.restarts() == 1
        assert not differences(stack.settings, oracle_of(stack.settings))


def slots(stack: Stack) -> int:
    return int(flink.get(stack.settings.flink, "/overview")["slots-total"])
