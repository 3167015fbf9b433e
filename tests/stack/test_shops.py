"""Two shops on one Kafka, one Flink and one Redis: the prefixes tell their topics, groups, jobs and keys apart."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from headrace.edge.tracker import Tracker
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import load
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.stack.compare import differences, oracle_of
from tests.stack.running import JOB, Stack, wait
from tests.streams.clicks import DAY_MS, combined, sweepers
from tests.streams.dirty import ACTIONS, soiled

pytestmark = pytest.mark.stack
EVENTS = 2_000


@pytest.fixture
def second(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Stack]:
    """Makes of this machine's settings those of another shop, with a home of its own."""

    def moved() -> Stack:
        settings = stack.settings
        values = {
            "HOME": tmp_path,
            "FLINK__REST": settings.flink.rest,
            "FLINK__PREFIX": "second.",
            "REDIS__PORT": settings.redis.port,
        }
        values |= {
            "WATCH__JOBS": json.dumps([JOB]),
            "KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "KAFKA__PREFIX": "second.",
            "REDIS__KEY_PREFIX": "2:",
        }
        for name, value in values.items():
            monkeypatch.setenv(f"HEADRACE_{name}", str(value))
        return Stack(tmp_path, load())

    return moved


def test_two_shops_share_a_kafka_a_flink_and_a_redis(stack: Stack, second: Callable[[], Stack], tmp_path: Path) -> None:
    """The second begins where the first has been, is not asked about its traces, and changes nothing of it."""
    stream = combined(list(ACTIONS))[: 2 * EVENTS]
    stack.submit()
    stack.send(soiled(stream[:EVENTS]))
    stack.settle()
    kafka, client = stack.settings.kafka, stack.settings.redis.client(decode_responses=True)
    keys, sizes = {*client.scan_iter()}, kafka_topics.sizes(kafka)

    shop = second()
    shop.run("topics", "create")
    shop.submit()
    shop.send([*soiled(stream[EVENTS:]), *sweepers(stream[-1][0] + DAY_MS, kafka.partitions)])
    with Tracker.connect() as tracker:
        tracker.track("ann", "lamp", "view")
        assert tracker.flush(30)
    shop.settle()
    oracle = oracle_of(shop.settings)
    different = differences(shop.settings, oracle)
    assert not different, "\n".join(different)
    assert "TROUBLE" not in shop.run("watch")
    committed = partial(kafka_topics.committed, shop.settings.kafka, JOB)
    wait(lambda: sum(committed().values()) == shop.consumed(), 30, lambda: f"{committed()} are committed")
    letters = json.loads(shop.run("deadletters", "--count", "--json"))["data"]["counts"]
    assert sum(letters.values()) == len(oracle.dead) > 0

    there = sum(topic.ends(shop.settings.kafka, CLICKS).values())
    shop.run("deadletters", "resend", "--reason", "json", "--edit", "echo {}")
    shop.run("simulate", "--events", "100")
    assert sum(topic.ends(shop.settings.kafka, CLICKS).values()) >= there + letters["json"] + 100

    assert kafka_topics.sizes(kafka) == sizes
    assert {key for key in client.scan_iter() if not key.startswith(("2:", "writer:2:"))} == keys  # the fence's too
