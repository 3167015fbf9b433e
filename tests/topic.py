"""Records into and out of a topic, by kafka-python alone."""

from collections.abc import Iterable, Iterator
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from headrace.infra.settings import Kafka
from tests.streams.clicks import Record

POLL_MS = 1_000
RECORD_MAX_BYTES = 2 * 1024 * 1024


def producer(kafka: Kafka) -> Any:
    """One request in flight, so that a partition keeps the order of sending; compressed, so that a value
    above the broker's limit of 1 MiB gets in."""
    return KafkaProducer(
        **kafka.client(), max_in_flight_requests_per_connection=1, linger_ms=20, batch_size=256 * 1024,
        max_request_size=RECORD_MAX_BYTES, compression_type="gzip", request_timeout_ms=10_000,
    )  # fmt: skip


def send(kafka: Kafka, topic: str, records: Iterable[Record]) -> int:
    """Sends records, and returns how many once all of them are acknowledged."""
    with_broker = producer(kafka)
    futures = [with_broker.send(kafka.name(topic), key=record.key, value=record.value) for record in records]
    with_broker.flush()
    with_broker.close()
    return len([future.get(timeout=60) for future in futures])


def read(kafka: Kafka, topic: str) -> Iterator[Any]:
    """Returns every committed record there is now, each partition in offset order."""
    called = kafka.name(topic)
    consumer = KafkaConsumer(
        **kafka.client(), isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=RECORD_MAX_BYTES,
    )  # fmt: skip
    parts = [TopicPartition(called, n) for n in sorted(consumer.partitions_for_topic(called))]
    consumer.assign(parts)
    ends = consumer.end_offsets(parts)
    while any(consumer.position(part) < ends[part] for part in parts):
        for fetched in consumer.poll(timeout_ms=POLL_MS).values():
            yield from fetched
    consumer.close()


def partitions(kafka: Kafka, topic: str) -> int:
    consumer = KafkaConsumer(**kafka.client())
    found = len(consumer.partitions_for_topic(kafka.name(topic)))
    consumer.close()
    return found


def ends(kafka: Kafka, topic: str) -> dict[int, int]:
    """Returns the offset after the last record of each partition."""
    consumer = KafkaConsumer(**kafka.client())
    called = kafka.name(topic)
    parts = [TopicPartition(called, n) for n in consumer.partitions_for_topic(called)]
    found = {part.partition: offset for part, offset in consumer.end_offsets(parts).items()}
    consumer.close()
    return found
