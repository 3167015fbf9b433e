"""Arms that get a newer record while they are retired stay, on a real Kafka and Redis."""

import json
import threading
import time
from base64 import b64encode

import pytest
from kafka import KafkaProducer
from redis import Redis

from headrace.infra.operate import arm_records, retire
from headrace.infra.settings import Settings, load
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS
from headrace.udfs.bandit import sums_version
from tests import topic
from tests.edge.broker import Broker
from tests.streams.clicks import Record

pytestmark = pytest.mark.stack
SUMS = b64encode(bytes(8 * 6)).decode()  # d = 2


def known(arm: str, as_of_ms: int) -> Record:
    record = {"policy": "linucb", "arm": arm, "n": 0, "packed": SUMS, "as_of_ms": as_of_ms}
    return Record(json.dumps({"policy": "linucb", "arm": arm}).encode(), json.dumps(record).encode())


@pytest.fixture
def settings(broker: Broker, redis: Redis, redis_port: int) -> Settings:
    default = load()
    shop_redis = default.redis.model_copy(update={"host": "127.0.0.1", "port": redis_port})
    return default.model_copy(update={"kafka": broker.kafka, "redis": shop_redis})


def as_of_ms(settings: Settings) -> dict[str, int]:
    return {each.item: each.as_of_ms for each in arm_records.newest(settings.kafka)}


def shown(redis: Redis) -> set[bytes]:
    return set(redis.hkeys(redis_keys.bandit("linucb", sums_version.DEFAULT)))  # type: ignore[arg-type]


def test_a_newer_record_of_an_arm_survives(settings: Settings, redis: Redis) -> None:
    topic.send(settings.kafka, STATISTICS, [known("old", 1), known("back", 1), known("open", 1)])
    gone = arm_records.newest(settings.kafka)
    arm_records.show(settings, gone)
    assert shown(redis) == {b"old", b"back", b"open"}
    topic.send(settings.kafka, STATISTICS, [known("back", 2)])
    job = KafkaProducer(**settings.kafka.client(), transactional_id="bandit-statistics-0-1")
    job.init_transactions()
    job.begin_transaction()
    newer = known("open", 3)
    job.send(STATISTICS, newer.value, newer.key).get(30)

    def commit() -> None:
        time.sleep(1)
        job.commit_transaction()

    committing = threading.Thread(target=commit)
    committing.start()
    retire.delete(settings, gone)
    committing.join()
    job.close()
    assert as_of_ms(settings) == {"back": 2, "open": 3}
    assert shown(redis) == {b"back", b"open"}


def test_nothing_to_retire_asks_nobody(settings: Settings) -> None:
    retire.delete(settings, [])
    assert as_of_ms(settings) == {}


def test_a_posterior_that_redis_has_is_not_written_over(settings: Settings, redis: Redis) -> None:
    topic.send(settings.kafka, STATISTICS, [known("there", 1), known("lost", 1)])
    key = redis_keys.bandit("linucb", sums_version.DEFAULT)
    redis.hset(key, "there", "newer")
    arm_records.show(settings, arm_records.newest(settings.kafka))
    assert redis.hgetall(key)[b"there"] == b"newer"  # type: ignore[index]
    assert shown(redis) == {b"there", b"lost"}
