"""A TaskManager that sleeps, or is cut off, while another does its work writes nothing stale.

One seeded schedule; 20 with --soak, every other with a network that a packet filter cuts.
"""

import random
import shutil
from dataclasses import replace
from threading import Thread

import pytest

from headrace.infra.clients import flink
from tests.stack.compare import differences, oracle_of
from tests.stack.crashes import Sender
from tests.stack.running import Stack, wait
from tests.stack.spare import cut_taskmanager, paused_taskmanager, spare_taskmanager
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
    metafunc.parametrize("schedule", range(20 if metafunc.config.getoption("soak") else 1))


def test_a_taskmanager_that_was_replaced_writes_nothing_stale(
    stack: Stack, stream: Stream, schedule: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away in mid-stream, with values on their way; its successor writes newer ones; then it is back."""
    away = cut_taskmanager if schedule % 2 else paused_taskmanager
    if schedule % 2 and not shutil.which("nft"):
        pytest.skip("the packet filter nft is not installed")
    monkeypatch.setenv("HEADRACE_FLINK__CHECKPOINT_INTERVAL_S", str(CHECKPOINT_S))
    rng = random.Random(schedule)
    stack.reset()
    stack.submit("--parallelism", "1", "--state-backend", rng.choice(("hashmap", "rocksdb")))
    sender = Sender(stack, list(soiled(stream)))
    sender.keep_step(rng.uniform(0.1, 0.3))
    with spare_taskmanager(stack) as metrics_at:
        successor = replace(stack, metrics_at=metrics_at)
        both_are_there(stack)
        sending = Thread(target=sender.send, args=(len(sender.records) // 2,))
        sending.start()
        with away():
            before = stack.checkpoints()
            wait(lambda: works(successor, before), TAKEN_OVER_S, lambda: "the spare TaskManager does not take over")
            sending.join()
        both_are_there(stack)
        sender.send(len(sender.records))
        sender.close()
        stack.send(sweepers(stream[-1][0] + DAY_MS, stack.settings.kafka.partitions))
        successor.settle()
        assert not differences(stack.settings, oracle_of(stack.settings))


def works(successor: Stack, before: int) -> bool:
    return successor.consumed() > 0 and successor.checkpoints() > before


def both_are_there(stack: Stack) -> None:
    def slots() -> int:
        return int(flink.get(stack.settings.flink, "/overview")["slots-total"])

    wait(lambda: slots() == 2 * stack.settings.stack.slots, 60, lambda: f"{slots()} slots")
