"""Our Kafka topics: making them, reading them, measuring them.

Names are those of schemas/topics.py; kafka.prefix comes before them in Kafka alone.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from headrace.infra.errors import IS_IT_UP, HeadraceError, brief
from headrace.infra.settings import Kafka
from headrace.schemas import topics

BOOTSTRAP_MS = 5_000
POLL_MS = 500
COORDINATOR_TRIES, COORDINATOR_PAUSE_S = 40, 0.5
HOUR_MS = 3_600_000
# Twice the default limit of a source record: the raw bytes, and the headers that describe them.
DEAD_LETTER_MAX_BYTES = 2 * 1024 * 1024
# Arms are few, so their statistics are kept for ever. Rewards are as many as impressions, so they are also deleted.
COMPACTED = {topics.STATISTICS: {"cleanup.policy": "compact"}, topics.REWARDS: {"cleanup.policy": "compact,delete"}}
# A round's number and the model must outlast any pause between rounds.
COMPACTED |= {name: {"cleanup.policy": "compact"} for name in (topics.ROUNDS, topics.GLOBAL_MODEL)}


def names() -> list[str]:
    return [value for name, value in vars(topics).items() if name.isupper()]


@contextlib.contextmanager
def admin(kafka: Kafka, timeout_ms: int = BOOTSTRAP_MS) -> Iterator[Any]:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # our error says what went wrong, once
    try:
        client = KafkaAdminClient(**kafka.client(), bootstrap_timeout_ms=timeout_ms)
    except (KafkaError, OSError) as error:
        raise unreachable(kafka, error) from None
    try:
        yield client
    finally:
        client.close()


def unreachable(kafka: Kafka, error: Exception) -> HeadraceError:
    return HeadraceError(f"no Kafka at {kafka.bootstrap} ({brief(error)}): {IS_IT_UP}")


def create(kafka: Kafka, replication: int = -1) -> list[str]:
    """Makes the topics that are missing, and returns their names. replication: -1 is the broker's default."""
    from kafka.errors import TopicAlreadyExistsError

    with admin(kafka) as client:
        there = client.list_topics()
        missing = [name for name in names() if kafka.name(name) not in there]
        if missing:
            wanted = {kafka.name(name): _definition(kafka, name, replication) for name in missing}
            with contextlib.suppress(TopicAlreadyExistsError):  # the client asks a slow broker twice
                client.create_topics(wanted)
            client.wait_for_topics(list(wanted))
    return missing


def _definition(kafka: Kafka, name: str, replication: int) -> dict[str, Any]:
    # The rules of docs/semantics.md rely on the broker's clock.
    configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(kafka.retention_h * HOUR_MS)}
    configs |= COMPACTED.get(name, {})
    if name == topics.DEAD_LETTERS:
        configs["max.message.bytes"] = str(DEAD_LETTER_MAX_BYTES)
    return {"num_partitions": kafka.partitions, "replication_factor": replication, "configs": configs}


def records(kafka: Kafka, name: str) -> Iterator[Any]:
    """Yields every committed record that is there now, in the order of each partition."""
    from kafka import KafkaConsumer

    ends = _offsets(kafka, name)[1]
    consumer = KafkaConsumer(
        **kafka.client(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=2 * DEAD_LETTER_MAX_BYTES,
    )
    try:
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        while any(consumer.position(part) < end for part, end in ends.items()):
            for part, fetched in consumer.poll(POLL_MS).items():
                yield from (record for record in fetched if record.offset < ends[part])
    finally:
        consumer.close()


def ranges(kafka: Kafka, name: str) -> dict[int, tuple[int, int]]:
    """Returns of each partition the first offset, and the one after the last committed record."""
    first, last = _offsets(kafka, name)
    return {part.partition: (first[part], last[part]) for part in sorted(last)}


def topic_id(kafka: Kafka, name: str) -> str:
    """Returns Kafka's id of a topic, which changes when it is made anew. It is empty if the broker gives none."""
    with admin(kafka) as client:
        (topic,) = client.describe_topics([kafka.name(name)])
    found = topic.get("topic_id")
    return str(found) if found and uuid.UUID(str(found)).int else ""


def _offsets(kafka: Kafka, name: str) -> list[dict[Any, int]]:
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec
    from kafka.protocol.consumer import IsolationLevel

    with admin(kafka) as client:
        called = kafka.name(name)
        if called not in client.list_topics():
            raise HeadraceError(
                f"topic {called} does not exist at {kafka.bootstrap}: `headrace topics create` makes it"
            )
        (topic,) = client.describe_topics([called])
        parts = [TopicPartition(called, each["partition_index"]) for each in topic["partitions"]]
        offsets = [
            client.list_partition_offsets(dict.fromkeys(parts, spec), isolation_level=IsolationLevel.READ_COMMITTED)
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        ]
    return [{part: each[part].offset for part in parts} for each in offsets]


def committed(kafka: Kafka, group: str) -> dict[Any, int]:
    """Returns the offset after the last record that a group of ours has committed, by partition; empty without one."""
    from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

    called = kafka.name(group)
    with admin(kafka) as client:
        for left in reversed(range(COORDINATOR_TRIES)):
            try:
                found = client.list_group_offsets([called]).get(called, {})
                return {part: each.offset for part, each in found.items() if each.offset >= 0}
            except (
                CoordinatorNotAvailableError,
                CoordinatorLoadInProgressError,
                NotCoordinatorError,
            ):  # the first group of a new broker
                if not left:
                    raise
                time.sleep(COORDINATOR_PAUSE_S)
    raise AssertionError("the last try returns or raises")


class ListedTopic(NamedTuple):
    name: str
    partitions: int  # 0: it is missing
    records: int  # offsets held: records, and markers of transactions


def listed(kafka: Kafka) -> list[ListedTopic]:
    """Returns each of our topics, also the missing ones."""
    held = sizes(kafka)
    with admin(kafka) as client:
        described = client.describe_topics([kafka.name(name) for name in held])
    partitions = {each["name"]: len(each["partitions"]) for each in described}
    return [ListedTopic(name, partitions.get(kafka.name(name), 0), held.get(name, 0)) for name in names()]


def sizes(kafka: Kafka) -> dict[str, int]:
    """Returns how many offsets each of our existing topics holds: records, and markers of transactions."""
    first, last = bounds(kafka)
    return {name: last[name] - first[name] for name in last}


def bounds(kafka: Kafka) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the first offset of each of our existing topics, and the one after the last, summed over partitions."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    with admin(kafka) as client:
        there = client.list_topics()
        ours = {kafka.name(name): name for name in names() if kafka.name(name) in there}
        described = client.describe_topics(list(ours))
        parts = [TopicPartition(each["name"], p["partition_index"]) for each in described for p in each["partitions"]]
        specs = (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        offsets = [client.list_partition_offsets(dict.fromkeys(parts, spec)) for spec in specs]
    sums: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for sum_, answer in zip(sums, offsets, strict=True):
        for part in parts:
            sum_[ours[part.topic]] = sum_.get(ours[part.topic], 0) + answer[part].offset
    return sums
