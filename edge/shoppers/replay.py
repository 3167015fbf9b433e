"""Sends clicks to the topic `clicks`, as fast as possible or at the pace of their own clock.

    >>> clicks = open_dataset("movielens", Path("ml-100k"))                  # doctest: +SKIP
    >>> replay(clicks, bulk_producer(settings.kafka.client()), limit=1000)   # doctest: +SKIP
    ReplayReport(sent=1000, seconds=0.2, left_out={})

A replay does not use the tracker. Records of a file have ids and times of their own and can be read again after a
crash, so they need no spool and no sessions. A click costs 36-46 us of CPU, 22 of them in kafka-python's send (42 k/s
alone). It matters that batches are 256 KiB (with the default 16 KiB: 24 k/s) and that linger is long enough to fill
them.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from headrace.edge.datasets.columns import Click, Clicks
from headrace.edge.producer import connect
from headrace.infra.progress import Meter
from headrace.schemas import topics
from headrace.udfs.contract import Contract, ContractError

BULK: dict[str, Any] = {
    "enable_idempotence": True,
    "acks": "all",
    "batch_size": 256 << 10,
    "max_block_ms": 5_000,
    "bootstrap_timeout_ms": 5_000,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}
FLUSH_EVERY = 20_000  # records; the client itself does not bound its buffer
AHEAD_S = 0.002  # sleeping for less costs more than it gains

_check = Contract.of("click").check


class ReplayReport(NamedTuple):
    sent: int
    seconds: float
    left_out: dict[str, int]  # broken rule -> records


def bulk_producer(client: dict[str, Any], topic: str = topics.CLICKS, linger_ms: int = 100) -> KafkaProducer:
    """A producer for many records. For a replay in real time, linger less.

    Raises KafkaError or OSError if the brokers do not answer or the topic is missing.
    """
    producer = connect(BULK | client | {"linger_ms": linger_ms})
    if not producer.partitions_for(topic):
        raise UnknownTopicOrPartitionError(topic)
    return producer


def replay(
    clicks: Clicks,
    producer: KafkaProducer,
    *,
    speedup: float | None = None,
    limit: int | None = None,
    shift_to_now: bool = False,
    topic: str = topics.CLICKS,
) -> ReplayReport:
    """Sends the first `limit` clicks. A `speedup` of 60 plays an hour in a minute; without one, it waits for nothing.

    With `shift_to_now` the newest click happens now. Raises ValueError unless speedup > 0.
    """
    if speedup is not None and speedup <= 0:
        raise ValueError(f"speedup must be > 0, got {speedup}")
    total = clicks.rows if limit is None else min(limit, clicks.rows)
    records: Iterable[Click] = islice(clicks, total)
    if speedup:
        records = paced(records, speedup, retime=shift_to_now)
    elif shift_to_now and total:
        records = shifted(records, time.time_ns() // 1_000_000 - clicks.ms_at(total - 1))
    with Meter("replay", total) as meter:
        return publish(records, producer, meter, topic)


def shifted(records: Iterable[Click], by_ms: int) -> Iterator[Click]:
    """Yields the records with later times."""
    for record in records:
        record["ts_ms"] += by_ms
        yield record


def paced(records: Iterable[Click], speedup: float, retime: bool = False) -> Iterator[Click]:
    """Yields each record at its time. With `retime` its ts_ms becomes that moment, so gaps shrink by the speed-up."""
    begin_s = first_ms = None
    for record in records:
        if begin_s is None or first_ms is None:
            begin_s, first_ms = time.time(), record["ts_ms"]
        due_s = begin_s + (record["ts_ms"] - first_ms) / 1000 / speedup
        ahead_s = due_s - time.time()
        if ahead_s > AHEAD_S:
            time.sleep(ahead_s)
        if retime:
            record["ts_ms"] = int(due_s * 1000)
        yield record


def publish(
    records: Iterable[Click], producer: KafkaProducer, meter: Meter, topic: str = topics.CLICKS
) -> ReplayReport:
    """Sends records until the end or Ctrl-C. It leaves out those that break the contract, and counts them.

    Raises KafkaError if Kafka refuses a record.
    """
    failures: list[KafkaError] = []
    left_out: Counter[str] = Counter()
    try:
        for record in records:
            try:
                value = _check(record)
            except ContractError as error:
                left_out[error.fault.detail.partition(", got ")[0]] += 1
                continue
            producer.send(topic, value, record["user_id"].encode()).add_errback(failures.append)
            meter.done += 1
            if meter.done % FLUSH_EVERY == 0:
                _flush(producer, failures)
    except KeyboardInterrupt:
        pass  # the records so far are sent and reported
    _flush(producer, failures)
    return ReplayReport(meter.done, meter.seconds, dict(left_out))


def _flush(producer: KafkaProducer, failures: list[KafkaError]) -> None:
    producer.flush()
    if failures:
        raise failures[0]
