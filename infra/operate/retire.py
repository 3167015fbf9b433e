"""`headrace retire`: removes arms whose item has left the catalogue from Redis and from the topic `statistics`.

The job's own sums stay. So an item that comes back begins where it was: its next impression writes the arm again. An
arm that comes back at this very moment stays, too, though the job's record may lie before our empty one.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from headrace.infra.clients import kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.operate import arm_records, generations
from headrace.infra.operate.arm_records import ArmRecord
from headrace.infra.settings import Kafka, Settings
from headrace.infra.versions import store
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS

POLL_S = 0.5
SENT_WAIT_S = 60


def resting(settings: Settings, now_ms: int) -> list[ArmRecord]:
    """Returns the arms that are not in the serving version, and had no impression or feedback for bandit.retire_ms.

    They are those of the encoder and rule in force. The job's state keeps their sums; those of another version have no
    job, and their last copy is the topic's.

    Raises HeadraceError if no version is published.
    """
    pointer = store.current()
    if not pointer:
        raise HeadraceError("a version must be published to say which items are in the catalogue, got none")
    catalogue = set(store.load(pointer.version).contents.items)
    before_ms = now_ms - settings.bandit.retire_ms
    version = generations.generation(settings, generations.BANDIT)
    ours = (arm for arm in arm_records.newest(settings.kafka) if arm.version == version)
    return [arm for arm in ours if arm.as_of_ms < before_ms and arm.item not in catalogue]


def delete(settings: Settings, gone: list[ArmRecord]) -> None:
    """Deletes the arms, but for those that have a newer record by now.

    Redis comes first: arms that a crash leaves in the topic are found again. Raises HeadraceError if a transaction of
    the job stays open for longer than kafka.transaction_timeout_s.
    """
    client = settings.redis.client()
    for arm in gone:
        client.hdel(redis_keys.bandit(arm.policy, arm.version), arm.item)
    known = {arm.key: arm.offset for arm in gone}
    sent = _send(settings.kafka, ((key, None) for key in known))
    while back := list(_between(settings.kafka, known, sent)):
        # Written once more, since the last record counts. What overtakes these is found in the next turn.
        known = {arm.key: arm.offset for arm in back}
        sent = _send(settings.kafka, ((arm.key, arm.value) for arm in back))
        arm_records.show(settings, back)


def _send(kafka: Kafka, records: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, Any]:
    """Returns by key where the record is."""
    from kafka import KafkaProducer

    with closing(KafkaProducer(**kafka.client(), acks="all")) as producer:
        futures = {key: producer.send(kafka.name(STATISTICS), key=key, value=value) for key, value in records}
        return {key: future.get(timeout=SENT_WAIT_S) for key, future in futures.items()}


def _between(kafka: Kafka, known: dict[bytes, int], sent: dict[bytes, Any]) -> Iterator[ArmRecord]:
    """Yields the newest record of each arm that came after the known one, and before the one that was sent."""
    _wait_until_decided(kafka, sent)
    last: dict[bytes, Any] = {}
    for record in kafka_topics.records(kafka, STATISTICS) if sent else ():
        if record.key in sent and record.value and known[record.key] < record.offset < sent[record.key].offset:
            last[record.key] = record
    yield from map(arm_records.parse, last.values())


def _wait_until_decided(kafka: Kafka, sent: dict[bytes, Any]) -> None:
    """Waits until no transaction that began before the sent records is open: only then all before them is visible."""
    deadline = time.monotonic() + kafka.transaction_timeout_s
    while open_ := _undecided(kafka, sent):
        if time.monotonic() > deadline:
            raise HeadraceError(
                f"a transaction at {STATISTICS}/{open_.pop()} stays open: `headrace retire` again later"
            )
        time.sleep(POLL_S)


def _undecided(kafka: Kafka, sent: dict[bytes, Any]) -> set[int]:
    ends = {part: end for part, (_, end) in kafka_topics.ranges(kafka, STATISTICS).items()}
    return {each.partition for each in sent.values() if ends[each.partition] <= each.offset}
