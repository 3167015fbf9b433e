"""Our Kafka topics: made, and measured."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from infra.errors import HeadraceError
from infra.settings import Kafka
from schemas import topics

BOOTSTRAP_MS = 5_000
HOUR_MS = 3_600_000
# Twice a source record's default limit: the raw bytes, and in the headers what is said of them.
DEAD_LETTER_MAX_BYTES = 2 * 1024 * 1024


def names() -> list[str]:
    return [value for name, value in vars(topics).items() if name.isupper()]


@contextlib.contextmanager
def admin(kafka: Kafka, timeout_ms: int = BOOTSTRAP_MS) -> Iterator[Any]:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # we say what went wrong, once
    try:
        client = KafkaAdminClient(**kafka.client(), bootstrap_timeout_ms=timeout_ms)
    except (KafkaError, OSError) as error:
        raise unreachable(kafka, error) from None
    try:
        yield client
    finally:
        client.close()


def unreachable(kafka: Kafka, error: Exception) -> HeadraceError:
    return HeadraceError(f"no Kafka at {kafka.bootstrap} ({error}): is it up? `headrace up` starts one")


def create(kafka: Kafka, replication: int = -1) -> list[str]:
    """Make the topics that are missing; their names. -1: as many replicas as the broker's default."""
    from kafka.errors import TopicAlreadyExistsError

    with admin(kafka) as client:
        missing = [name for name in names() if name not in client.list_topics()]
        if missing:
            wanted = {name: _definition(kafka, name, replication) for name in missing}
            with contextlib.suppress(TopicAlreadyExistsError):  # a slow broker is asked twice
                client.create_topics(wanted)
            client.wait_for_topics(missing)
    return missing


def _definition(kafka: Kafka, name: str, replication: int) -> dict[str, Any]:
    # The rules of docs/semantics.md stand on the broker's clock.
    configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": str(kafka.retention_h * HOUR_MS)}
    if name == topics.DEAD_LETTERS:
        configs["max.message.bytes"] = str(DEAD_LETTER_MAX_BYTES)
    return {"num_partitions": kafka.partitions, "replication_factor": replication, "configs": configs}


def sizes(kafka: Kafka) -> dict[str, int]:
    """Offsets held by each of our topics that exists: records, and markers of transactions."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    with admin(kafka) as client:
        found = client.describe_topics([name for name in names() if name in client.list_topics()])
        parts = [TopicPartition(each["name"], p["partition_index"]) for each in found for p in each["partitions"]]
        first = client.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.EARLIEST))
        last = client.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST))
    counts = {each["name"]: 0 for each in found}
    for part in parts:
        counts[part.topic] += last[part].offset - first[part].offset
    return counts
