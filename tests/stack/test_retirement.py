"""Arms of items that left the catalogue are removed from Redis and `statistics`; a restore keeps them away."""

import json
import time
from base64 import b64encode

import pytest

from headrace.infra.versions import store
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS
from headrace.udfs.bandit import sums_version
from tests import topic
from tests.infra.versions.test_store import keep
from tests.stack.running import Stack
from tests.streams.clicks import Record

pytestmark = pytest.mark.stack
POLICY = "linucb"
SUMS = b64encode(bytes(8 * 6)).decode()  # d = 2


def known(arm: str, as_of_ms: int) -> Record:
    record = {"policy": POLICY, "arm": arm, "n": 0, "packed": SUMS, "as_of_ms": as_of_ms}
    return Record(json.dumps({"policy": POLICY, "arm": arm}).encode(), json.dumps(record).encode())


def test_who_rested_outside_the_catalogue_goes(stack: Stack) -> None:
    keep("v1")
    store.publish("v1", 1)
    now_ms = time.time_ns() // 1_000_000
    topic.send(stack.settings.kafka, STATISTICS, [known("item-1é", 0), known("gone", 0), known("new", now_ms)])
    stack.run("restore", "bandit")
    client, key = stack.settings.redis.client(), redis_keys.bandit(POLICY, sums_version.DEFAULT)
    before = client.hgetall(key)
    assert stack.run("retire", "--dry-run") == f"{POLICY}  gone\n1 arms would be retired\n"
    assert stack.run("retire") == f"{POLICY}  gone\n1 arms retired\n"
    after = client.hgetall(key)
    assert after == {arm: value for arm, value in before.items() if arm != b"gone"}  # type: ignore[union-attr]
    assert len(after) == 2
    client.flushall()
    stack.run("restore", "bandit")
    assert client.hgetall(key) == after
    assert stack.run("retire") == "0 arms retired\n"
