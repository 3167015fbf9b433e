"""Figures of a day's impressions and rewards, and whether they and the clicks name each other: docs/night.md."""

from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.jobs.batch.judging.day_figures import volume
from headrace.jobs.batch.lake.tables import KEYS
from headrace.schemas import topics

SLOT = list(KEYS[topics.IMPRESSIONS])
SLATE = ["user_id", "impression_id"]


def of_impressions(
    clicks: DataFrame, shown: DataFrame, rewards: DataFrame, known: DataFrame, day: date
) -> dict[str, float | None]:
    """Returns the figures of the day. shown, rewards: of the days that are looked at; known: items, as `item_id`.

    All are None in a lake without impressions.
    """
    slots = shown.select(*SLOT, "day").persist()
    try:
        by_day = {row.day: row["count"] for row in slots.groupBy("day").count().collect()}
        if not by_day:
            return {}
        is_day = F.col("day") == F.lit(day)
        today = slots.where(is_day)
        named = clicks.where(is_day).where("impression_id IS NOT NULL").select(*SLATE)
        paid = rewards.select(*SLOT, F.lit(1).alias("paid"))
        return {
            topics.IMPRESSIONS: volume(by_day, day),
            "impressions_unknown": _missing(today, known, ["item_id"]),
            "orphan_clicks": _missing(named, slots.select(*SLATE).distinct(), SLATE),
            "orphan_rewards": _missing(rewards.where(is_day).select(*SLOT), slots.drop("day"), SLOT),
            "rewarded": _rewarded(slots.join(paid, SLOT, "left"), day),
        }
    finally:
        slots.unpersist()


def _missing(rows: DataFrame, others: DataFrame, key: list[str]) -> float | None:
    """Returns the share of rows whose key is not among the others'; None without rows."""
    there = others.withColumn("_there", F.lit(1))
    found: Any = rows.join(there, key, "left").agg(F.count("*"), F.count("_there")).first()
    return 1 - found[1] / found[0] if found[0] else None


def _rewarded(slots: DataFrame, day: date) -> float | None:
    """Returns the share of the day's impressions that have a reward, over that of the days before."""
    shares = {row[0]: row[1] for row in _by_time(slots, day).collect()}
    return shares[True] / shares[False] if shares.get(False) and True in shares else None


def _by_time(slots: DataFrame, day: date) -> DataFrame:
    rewarded = F.avg(F.when(F.col("paid").isNotNull(), 1.0).otherwise(0.0))
    return slots.groupBy((F.col("day") == F.lit(day)).alias("is_day")).agg(rewarded)
