"""Kafka -> the lake: the records since the last landing, as Parquet by event day.

source     topics `clicks`, `impressions` and `rewards`, committed records, from the offsets that the lake covers to the
           ends of the topics at the start
transform  headrace.udfs.contract and the broker's clock, as in the streaming jobs; refused records become the lake's
           dead letters
sink       the lake (jobs/batch/lake/tables.py): files and the offsets they cover in one step, night.land_records at a
           time

This is a batch read between recorded offsets, not a streaming query: a query keeps its offsets in a checkpoint of its
own, and two records of what has landed can differ after a crash. Here a landing that dies leaves nothing that anyone
reads, and the next begins at the offsets of the last one that committed. When two landings run at once, one commits and
the other drops its files and goes on behind it.

Run: headrace run land --date 2026-01-31
"""

import argparse
import contextlib
import json
from typing import NamedTuple

import msgspec
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.clients import kafka_topics
from headrace.infra.connections import SPARK_KAFKA
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Kafka, Settings, load
from headrace.jobs.batch import night
from headrace.jobs.batch.lake import landed_rows
from headrace.jobs.batch.lake.tables import RECORDS, Files, Lake, Overtaken, Snapshot, with_files
from headrace.jobs.batch.spark import session

STEP = "land"
RAW = ("key", "value", "partition", "offset", "unix_millis(timestamp) AS append_ms")

Offsets = dict[int, tuple[int, int]]  # by partition: [from, to)


class Covered(NamedTuple):
    """What the lake has of a topic."""

    offsets: dict[str, tuple[int, int]]  # by partition: [from, to)
    topic_id: str  # Kafka's; empty if it is not known


class Topic(NamedTuple):
    """What Kafka has of it."""

    name: str
    id: str
    offsets: Offsets  # by partition: from the first to after the last committed record

    def is_other(self, covered: Covered) -> bool:
        """Returns whether this topic was made after the one that the lake covers; its offsets are others, too."""
        return bool(self.id and covered.topic_id) and self.id != covered.topic_id


class Span(NamedTuple):
    before: Covered  # what the lake covered when the span was chosen
    covered: Covered  # the part of it that is of this topic
    offsets: Offsets


class RowCounts(msgspec.Struct):
    records: int = 0
    landed: int = 0
    refused: int = 0

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(self.records + other.records, self.landed + other.landed, self.refused + other.refused)


class Landing(NamedTuple):
    spark: SparkSession
    lake: Lake
    settings: Settings
    lossy: bool  # go on where Kafka has deleted or lost records that had not landed


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    with tonight.writing(STEP) as folder:
        spark = session(STEP)
        landing = Landing(spark, Lake(spark), load(), options.lossy)
        rows = {table: land(landing, table) for table in RECORDS}
        snapshot = landing.lake.snapshot()
        result = {"snapshot": snapshot.number, "topics": snapshot.offsets, "rows": rows, "lake": landing.lake.root}
        durable.write(folder / "landed.json", msgspec.json.format(msgspec.json.encode(result)))
    for table, counted in rows.items():
        print(f"{table}: {counted.records} records, {counted.landed} landed, {counted.refused} refused")


def land(landing: Landing, table: str) -> RowCounts:
    """Lands all records that are there now; records that come meanwhile are for the next landing."""
    ends = {part: end for part, (_, end) in kafka_topics.ranges(landing.settings.kafka, table).items()}
    total = RowCounts()
    while (span := _next(landing, table, ends)).offsets:
        try:
            total += _batch(landing, table, span)
        except Overtaken:
            continue
    if span.before.offsets and span.covered != span.before:  # without a new record: a topic id that was not known
        with contextlib.suppress(Overtaken):
            landing.lake.commit(lambda now: _covering(now, table, span, {}))
    return total


def _next(landing: Landing, table: str, ends: dict[int, int]) -> Span:
    kafka, before = landing.settings.kafka, covered(landing.lake.snapshot(), table)
    # The id first: of a topic that is made anew in between, the next look sees it.
    topic = Topic(table, kafka_topics.topic_id(kafka, table), kafka_topics.ranges(kafka, table))
    return upcoming(before, topic, ends, landing.settings.night.land_records, landing.lossy)


def covered(snapshot: Snapshot, table: str) -> Covered:
    return Covered(snapshot.offsets.get(table, {}), snapshot.topic_ids.get(table, ""))


def upcoming(before: Covered, topic: Topic, ends: dict[int, int], records: int, lossy: bool = False) -> Span:
    """Returns the next offsets to land, at most so many records; none if all below `ends` have landed.

    Raises HeadraceError if records are lost, unless lossy.
    """
    now = Covered(before.offsets, topic.id or before.topic_id)
    if topic.is_other(before):
        lost = f"the topic was made anew: the lake covers {before.topic_id}, but Kafka has {topic.id}"
        _allow(lossy, f"{topic.name}: {lost}", "its beginning")
        now = Covered({}, topic.id)
    left: Offsets = {}
    for part, (first, end) in topic.offsets.items():
        begin = now.offsets[str(part)][1] if str(part) in now.offsets else first
        if not first <= begin <= end:
            lost = f"the lake covers the offsets below {begin}, but Kafka has only {first} to {end}"
            _allow(lossy, f"{topic.name}/{part}: {lost}", f"{first}")
            begin = first
        if begin < ends.get(part, 0):
            left[part] = (begin, ends[part])
    share = max(1, records // max(1, len(left)))
    return Span(before, now, {part: (begin, min(end, begin + share)) for part, (begin, end) in left.items()})


def _allow(lossy: bool, lost: str, begin: str) -> None:
    if not lossy:
        raise HeadraceError(f"{lost}; --lossy goes on from {begin}")


def _batch(landing: Landing, table: str, span: Span) -> RowCounts:
    counted = Observation()
    # (key, value, partition, offset, append_ms)
    raw = source(landing.spark, landing.settings.kafka, table, span.offsets)
    judge = landed_rows.judge(table, landing.settings.session.future_ms)
    rows = raw.mapInArrow(judge, landed_rows.columns(table)).observe(
        counted, F.count("table").alias("records"), F.count("reason").alias("refused")
    )
    files = landing.lake.write(rows, "land")
    try:
        landing.lake.commit(lambda now: _covering(now, table, span, files))
    except Overtaken:
        landing.lake.discard(files)
        raise
    records, refused = counted.get["records"], counted.get["refused"]
    return RowCounts(records, records - refused, refused)


def source(spark: SparkSession, kafka: Kafka, topic: str, span: Offsets) -> DataFrame:
    """Reads the records of these offsets; fewer, if some are markers of transactions or were compacted away."""
    options = {f"kafka.{name}": value for name, value in kafka.properties(SPARK_KAFKA).items()}
    options |= {"kafka.isolation.level": "read_committed", "assign": json.dumps({kafka.name(topic): sorted(span)})}
    for option, index in {"startingOffsets": 0, "endingOffsets": 1}.items():
        offsets = {str(part): ends[index] for part, ends in span.items()}
        options[option] = json.dumps({kafka.name(topic): offsets})
    options["minPartitions"] = str(spark.sparkContext.defaultParallelism)
    return spark.read.format("kafka").options(**options).load().selectExpr(*RAW)


def _covering(now: Snapshot, table: str, span: Span, files: Files) -> Snapshot:
    """Returns the lake with these files and offsets. Raises Overtaken if it changed since the span was chosen."""
    if covered(now, table) != span.before:
        raise Overtaken
    offsets = dict(span.covered.offsets)
    for part, (begin, end) in span.offsets.items():
        first, until = offsets.get(str(part), (begin, begin))
        offsets[str(part)] = (first if until == begin else begin, end)
    ids = now.topic_ids | {table: span.covered.topic_id}
    return with_files(msgspec.structs.replace(now, offsets=now.offsets | {table: offsets}, topic_ids=ids), files)


if __name__ == "__main__":
    parser = night.arguments(__doc__)
    parser.add_argument("--lossy", action="store_true", help="go on where Kafka deleted records that had not landed")
    night.run(main, parser)
