"""Which events a night trains on, and by which its models are judged: docs/night.md, "Split".

A protocol is a text: `days:N`, `last:SHARE` or `leave_one_out`. The split is a function of the events alone, so that
evaluation draws the same one. Wherever a night sorts events, those of equal times are ordered by TIES.
"""

import hashlib
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from headrace.infra.errors import HeadraceError, Refusal
from headrace.jobs.batch.night import DAY_MS

Split = Callable[[DataFrame], DataFrame]
TIES = ("offset", "event_id")  # as events arrived in Kafka, or as their file has them
PROTOCOLS = "days:N with N >= 1, last:SHARE with 0 < SHARE < 1, or leave_one_out"


def held(events: DataFrame, protocol: str) -> DataFrame:
    """Returns the events with one more column, `held`: true for those that no training sees.

    Raises HeadraceError for an unknown protocol.
    """
    return _split(protocol)(events)


def trained_on(events: DataFrame, protocol: str) -> DataFrame:
    return held(events, protocol).where(~F.col("held")).drop("held")


def nothing_left() -> Refusal:
    """Returns why there is nothing to train on, and what to type."""
    rule = "training needs events on items, found none outside of what night.protocol holds out"
    hint = "HEADRACE_NIGHT__PROTOCOL=last:0.2 holds out the newest of each user instead"
    return Refusal(f"{rule}; if the data are of one day, {hint}")


def check(protocol: str) -> None:
    """Raises HeadraceError for an unknown protocol."""
    _split(protocol)


def in_order(events: DataFrame) -> DataFrame:
    """Returns the events sorted by user and time within each partition."""
    return events.sortWithinPartitions("user_id", "t_ms", *TIES)


def newest(name: str) -> Column:
    """Returns the aggregate of a column that is its value in the newest event which has one."""
    time = F.struct("t_ms", *TIES, "user_id")
    return F.max_by(name, F.when(F.col(name).isNotNull(), time)).alias(name)


def same(lineage: dict[str, Any], protocol: str) -> bool:
    """Returns whether a training held out by this protocol. Up to 0.2.0 equal times were ordered by event_id alone."""
    return lineage.get("protocol") == protocol and (protocol.startswith("days:") or lineage.get("ties") == [*TIES])


def is_unseen(lineage: dict[str, Any], protocol: str, night: date) -> bool:
    """Returns whether a training cannot have seen what a night holds out: an earlier night's, by the same protocol.

    The training part of every protocol only grows from night to night. Not so for a version that no night made, nor for
    one that devices trained, whose events nobody here knows.
    """
    if "federated" in lineage or "digest" not in lineage or "date" not in lineage:
        return False
    return same(lineage, protocol) and date.fromisoformat(lineage["date"]) < night


def digest(events: DataFrame) -> str:
    """Returns a hash of the rows' (user_id, event_id), whatever their order and partitions."""
    row = F.xxhash64("user_id", "event_id")
    wide = F.sum(row.cast("decimal(38,0)")).cast("string")  # a sum of longs would overflow
    sums = events.agg(F.count(row).alias("rows"), F.bit_xor(row).alias("xor"), wide.alias("sum")).first()
    assert sums is not None
    return hashlib.sha256(f"{sums.rows} {sums.xor} {sums.sum}".encode()).hexdigest()


def _split(protocol: str) -> Split:
    kind, _, value = protocol.partition(":")
    if kind == "days" and value.isdecimal() and int(value) >= 1:
        return lambda events: _newest_days(events, int(value))
    if kind == "last" and _is_share(value):
        return lambda events: _newest_of_each(events, F.floor(F.lit(Decimal(value)) * _count()))
    if protocol == "leave_one_out":
        return lambda events: _newest_of_each(events, (_count() > 1).cast("int"))
    raise HeadraceError(f"protocol must be {PROTOCOLS}, got {protocol!r}")


def _is_share(text: str) -> bool:
    try:
        return 0 < Decimal(text) < 1
    except InvalidOperation:
        return False


def _newest_days(events: DataFrame, days: int) -> DataFrame:
    """Holds out the last days, counted from the newest event: an empty last day holds nothing out by itself."""
    day = F.floor(F.col("t_ms") / DAY_MS)
    newest = events.agg(F.max(day).alias("_newest"))
    return events.crossJoin(F.broadcast(newest)).withColumn("held", day > F.col("_newest") - days).drop("_newest")


def _newest_of_each(events: DataFrame, how_many: Column) -> DataFrame:
    newest_first = Window.partitionBy("user_id").orderBy(*map(F.desc, ("t_ms", *TIES)))
    return events.withColumn("held", F.row_number().over(newest_first) <= how_many)


def _count() -> Column:
    return F.count(F.lit(1)).over(Window.partitionBy("user_id"))
