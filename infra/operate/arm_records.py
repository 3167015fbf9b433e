"""The newest record of each arm in the topic `statistics`, and its posterior in Redis."""

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Kafka, Settings
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS


class ArmRecord(NamedTuple):
    policy: str
    item: str
    version: str  # of the sums
    packed: bytes  # the sums
    as_of_ms: int
    key: bytes
    value: bytes
    offset: int  # in the partition of its key


def newest(kafka: Kafka) -> list[ArmRecord]:
    """Returns the last committed record of each arm that was not retired."""
    last: dict[bytes, Any] = {record.key: record for record in kafka_topics.records(kafka, STATISTICS)}
    return [parse(record) for record in last.values() if record.value]  # infra/operate/retire.py leaves an empty one


def parse(record: Any) -> ArmRecord:
    from headrace.udfs.bandit import sums_version

    arm = msgspec.json.decode(record.value)
    version = arm.get("version") or sums_version.DEFAULT
    packed = b64decode(arm["packed"])
    return ArmRecord(
        arm["policy"], arm["arm"], version, packed, arm["as_of_ms"], record.key, record.value, record.offset
    )


def show(settings: Settings, records: Iterable[ArmRecord]) -> None:
    """Writes the posteriors that Redis lacks. One that is there is as new or newer."""
    from headrace.udfs.bandit import arms

    by_size: dict[int, list[ArmRecord]] = defaultdict(list)  # one for each encoder's length
    for each in records:
        by_size[len(each.packed)].append(each)
    pipeline = settings.redis.client().pipeline(transaction=False)
    for alike in by_size.values():
        posteriors: Any = arms.solve_packed([each.packed for each in alike], settings.bandit.ridge)
        for each, posterior in zip(alike, posteriors, strict=True):
            pipeline.hsetnx(redis_keys.bandit(each.policy, each.version), each.item, posterior)
    pipeline.execute()
