"""Kafka as the processes of a federated round see it: records followed from the beginning, and records written at once.

Who follows sees committed records alone, each partition in order. Who writes does so in transactions under a name of
its own: of two processes with one name, the older one is refused by the broker.
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
    def __init__(self, kafka: Kafka, names: Sequence[str]) -> None:
        self._consumer = KafkaConsumer(
            **kafka.client(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2 * MAX_BYTES,
            fetch_max_bytes=FETCH_BYTES,
        )
        parts = [
            TopicPartition(name, part) for name in names for part in self._consumer.partitions_for_topic(name) or ()
        ]
        self._consumer.assign(parts)
        self._consumer.seek_to_beginning()

    def poll(self, timeout_ms: int) -> list[Told]:
        """What has come, waiting so long for the first; a record that breaks its schema is told and left out."""
        found: list[Told] = []
        for part, fetched in self._consumer.poll(timeout_ms).items():
            contract = Contract.of(SCHEMAS[part.topic])
            columns, faults = contract.columns([each.value for each in fetched])
            for row, fault in zip(zip(*columns, strict=True), faults, strict=True):
                if fault:
                    log.warning("a record of %s is refused: %s", part.topic, fault.detail)
                else:
                    found.append(Told(part.topic, dict(zip(contract.fields, row, strict=True))))
        return found

    def catch_up(self) -> list[Told]:
        """Everything there is by now."""
        ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        found: list[Told] = []
        while any(self._consumer.position(part) < end for part, end in ends.items()):
            found += self.poll(500)
        return found

    def close(self) -> None:
        self._consumer.close()


class Writer:
    def __init__(self, kafka: Kafka, name: str) -> None:
        self._producer = KafkaProducer(
            **kafka.client(), acks="all", max_request_size=2 * MAX_BYTES, transactional_id=f"headrace-{name}"
        )
        self._producer.init_transactions()

    def write(self, records: Iterable[Told]) -> None:
        """All of them or none; they are there on return."""
        self._producer.begin_transaction()
        for topic, record in records:
            self._producer.send(topic, key=key(topic, record), value=Contract.of(SCHEMAS[topic]).check(record))
        self._producer.commit_transaction()

    def close(self) -> None:
        self._producer.close()


def key(topic: str, record: dict[str, Any]) -> bytes:
    """As Flink's sinks write it, so that compaction and partitions do not depend on who wrote."""
    if topic in (topics.GLOBAL_MODEL, topics.AGGREGATES):
        return b'{"model":"%s","part":%d}' % (record["model"].encode(), record["part"])
    return b'{"round":%d}' % record["round"]
