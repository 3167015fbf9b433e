"""Kafka for the processes of a federated round: they follow records from the beginning, and write in transactions.

A follower sees committed records alone, each partition in order. A writer has a name of its own. If two processes have
one name, the broker refuses the older one.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from headrace.infra.settings import Kafka
from headrace.schemas import topics
from headrace.udfs.contract import MAX_BYTES, Contract

SCHEMAS = {
    topics.ROUNDS: "round",
    topics.RECEIPTS: "receipt",
    topics.COHORTS: "cohort",
    topics.SUMS: "sum",
    topics.AGGREGATES: "aggregate",
    topics.GLOBAL_MODEL: topics.GLOBAL_MODEL,
}
FETCH_BYTES = 8 * MAX_BYTES
log = logging.getLogger(__name__)


class Told(NamedTuple):
    topic: str
    record: dict[str, Any]


class TopicFollower:
    """Reads some topics from their beginning."""

    def __init__(self, kafka: Kafka, names: Sequence[str]) -> None:
        self._topics = {kafka.name(name): name for name in names}
        self._consumer = KafkaConsumer(
            **kafka.client(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2 * MAX_BYTES,
            fetch_max_bytes=FETCH_BYTES,
        )
        parts = [
            TopicPartition(name, part)
            for name in self._topics
            for part in self._consumer.partitions_for_topic(name) or ()
        ]
        self._consumer.assign(parts)
        self._consumer.seek_to_beginning()

    def poll(self, timeout_ms: int) -> list[Told]:
        """The new records, after at most timeout_ms. It logs and leaves out a record that breaks its schema."""
        heard: list[Told] = []
        for part, fetched in self._consumer.poll(timeout_ms).items():
            topic = self._topics[part.topic]
            contract = Contract.of(SCHEMAS[topic])
            columns, faults = contract.columns([each.value for each in fetched])
            for row, fault in zip(zip(*columns, strict=True), faults, strict=True):
                if fault:
                    log.warning("a record of %s is refused: %s", topic, fault.detail)
                else:
                    heard.append(Told(topic, dict(zip(contract.fields, row, strict=True))))
        return heard

    def catch_up(self) -> list[Told]:
        """All records that are in the topics now."""
        ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        heard: list[Told] = []
        while any(self._consumer.position(part) < end for part, end in ends.items()):
            heard += self.poll(500)
        return heard

    def close(self) -> None:
        self._consumer.close()


class Writer:
    """Writes records in transactions under a name of its own."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self._kafka = kafka
        self._producer = KafkaProducer(
            **kafka.client(),
            acks="all",
            max_request_size=2 * MAX_BYTES,
            transactional_id=kafka.name(f"headrace-{name}"),
        )
        self._producer.init_transactions()

    def write(self, records: Iterable[Told]) -> None:
        """Writes all records or none; they are in Kafka on return. Raises ContractError if one breaks its schema."""
        self._producer.begin_transaction()
        for topic, record in records:
            value = Contract.of(SCHEMAS[topic]).check(record)
            self._producer.send(self._kafka.name(topic), key=key(topic, record), value=value)
        self._producer.commit_transaction()

    def close(self) -> None:
        self._producer.close()


def key(topic: str, record: dict[str, Any]) -> bytes:
    """The key of a record, as Flink's sinks write it: so compaction and partitions do not depend on the writer."""
    if topic in (topics.GLOBAL_MODEL, topics.AGGREGATES):
        return b'{"model":"%s","part":%d}' % (record["model"].encode(), record["part"])
    return b'{"round":%d}' % record["round"]
