"""Whatever a record holds, it takes one path and restarts nothing: damage, giants, crowded spans, foreign keys."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from kafka import KafkaProducer

from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, SESSIONS
from headrace.udfs.contract import MAX_BYTES, Contract
from tests import topic
from tests.stack.running import Stack
from tests.streams.clicks import DAY_MS, Record, sweepers
from tests.streams.dirty import plain
from tests.udfs.contract_records import records

pytestmark = pytest.mark.stack

CROWD = 2_000


def damaged(count: int, random: Random) -> Iterator[Record]:
    for schema, value in records(count, seed=random.randrange(1 << 30)):
        if schema == 0:
            keys = [b"", b"user", random.randbytes(9)] + [None] * (value is not None)
            yield Record(random.choice(keys), value)


def crowded(now_ms: int) -> Iterator[Record]:
    """One user's span with more items than its record can list, each as long as the contract allows."""
    for n in range(CROWD):
        item = f"{n:04}" + "\u20ac" * 252
        yield plain({"event_id": f"c{n}", "user_id": "crawler", "item_id": item, "action": "view", "ts_ms": now_ms})


def giants(random: Random) -> Iterator[Record]:
    """Records that zstd makes small enough for the topic, and gzip does not."""
    block = random.randbytes(50_000).hex().encode()
    yield Record(b"giant", ("\U0001f600" * (MAX_BYTES // 4 * 4)).encode())
    yield Record(b"giant", (block * 12)[: MAX_BYTES - 2])
    yield Record((block * 12)[:MAX_BYTES], (block * 12)[:MAX_BYTES])
    yield Record((block * 12)[: MAX_BYTES // 2], (block * 12)[: MAX_BYTES + 1])


def test_hostile_records_take_one_path_each_and_restart_nothing(stack: Stack, request: pytest.FixtureRequest) -> None:
    random, now_ms = Random(5), time.time_ns() // 1_000_000 - 2 * DAY_MS
    client: Any = stack.settings.redis.client()
    client.set(redis_keys.hidden("poisoned"), "somebody else's")
    stack.submit()
    count = 250_000 if request.config.getoption("soak") else 12_000  # of three schemas
    sent = [*damaged(count, random), *crowded(now_ms)]
    sent.append(plain({"event_id": "p", "user_id": "poisoned", "item_id": "i", "action": "block", "ts_ms": now_ms}))
    stack.send(sent)
    send_zstd(stack, list(giants(random)))
    stack.send(sweepers(now_ms + DAY_MS, stack.settings.kafka.partitions))
    stack.settle()
    assert stack.restarts() == 0
    assert_one_path_each(stack)
    closed = [record for record in topic.read(stack.settings.kafka, SESSIONS) if record.key == b"crawler"]
    assert len(closed) == 1
    assert client.get(redis_keys.hidden("poisoned")) == b"somebody else's"
    assert client.exists(redis_keys.session("poisoned")) == 1
    assert metric(stack, "set_aside") >= 1


def send_zstd(stack: Stack, giants: list[Record]) -> None:
    producer = KafkaProducer(
        **stack.settings.kafka.client(), compression_type="zstd", max_request_size=16 * MAX_BYTES, linger_ms=0
    )
    for record in giants:
        producer.send(CLICKS, key=record.key, value=record.value).get(30)
    producer.close()


def assert_one_path_each(stack: Stack) -> None:
    """Compares with the Python contract; what it takes may still be late, or from the future."""
    letters = {}
    for letter in topic.read(stack.settings.kafka, DEAD_LETTERS):
        headers = {name: value.decode() for name, value in letter.headers}
        place = int(headers["partition"]), int(headers["offset"])
        assert place not in letters
        letters[place] = headers["reason"]
    paths: Counter[str] = Counter()
    contract = Contract.of("click")
    for record in topic.read(stack.settings.kafka, CLICKS):
        _, (fault,) = contract.columns([record.value])
        said = letters.pop((record.partition, record.offset), "taken")
        assert said == fault.reason if fault else said in ("taken", "late", "future"), (said, fault, record.value[:200])
        paths[said] += 1
    assert not letters
    counted = sum(metric(stack, name) for name in ("applied", "headrace_late", "repeats"))
    assert counted == paths["taken"], paths


def metric(stack: Stack, name: str) -> int:
    return sum(int(float(value)) for value in re.findall(rf"_{name}\{{[^}}]*\}} (\S+)", stack.metrics()))
