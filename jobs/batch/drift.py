"""Has the day's traffic moved away from what the model was trained on?

source     {lake}/clicks and rewards: the night's last day, and the drift.toml reference_days before it
transform  features (actions, categories, devices, hours, prices, events a user) and predictions (propensities, and the
           rewards that followed) -> PSI of categories (udfs/evaluation/population_stability.py),
           Kolmogorov-Smirnov distance of numbers (scipy)
sink       drift/report.json: each measure beside its limit; `beyond` names those above it

Limits are on the size of a move, not on its p-value: with many events every move is significant. The index of two days
of one distribution grows with the number of categories, so its limit is on what is more than chance gives.

Run: headrace run drift --date 2026-01-31
"""

import argparse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import stats

from headrace.infra import durable
from headrace.infra.settings import load
from headrace.jobs.batch import night
from headrace.jobs.batch.judging.limits import DriftLimits, drift_limits
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.udfs.evaluation import population_stability

STEP = "drift"
SEED = 1
Counts = dict[str, int]  # by category


class Measure(msgspec.Struct, frozen=True):
    name: str
    kind: str  # psi or ks
    value: float
    limit: float
    rows: tuple[int, int]  # before the day, and of it
    chance: float = 0.0  # what it is on average when nothing moves, because the samples are finite
    chance_max: float = 0.0  # the most that it was in 100 draws

    @property
    def is_beyond(self) -> bool:
        return self.value - self.chance > self.limit and self.value > self.chance_max


class Sides(NamedTuple):
    """Rows with a boolean column `of_day`."""

    clicks: DataFrame
    rewards: DataFrame


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    limits = drift_limits(Path(load().night.drift_file))
    measured = list(measures(read(tonight, limits), limits))
    beyond = [each.name for each in measured if each.is_beyond]
    with tonight.writing(STEP) as folder:
        report = {"date": tonight.date, "measures": measured, "beyond": beyond}
        durable.write(folder / "report.json", msgspec.json.format(msgspec.json.encode(report)))
    for each in measured:
        bound = f"limit {each.limit:g}{f' above {each.chance:.4f} by chance' * (each.kind == 'psi')}"
        print(f"{each.name:<18}{each.kind:<5}{each.value:8.4f}  {bound}{'  BEYOND' * each.is_beyond}")
    print(f"drift of {tonight.date}: {', '.join(beyond) or 'none'}")


def read(tonight: Night, limits: DriftLimits) -> Sides:
    spark = session(STEP)
    first = tonight.date - timedelta(days=limits.reference_days)
    of_day = F.col("day") == F.lit(tonight.date)
    # The columns of the lake's table, of_day: true for the night's day, false for the days before it.
    clicks, rewards = (
        table(spark, tonight.date).where(F.col("day") >= F.lit(first)).withColumn("of_day", of_day)
        for table in (tables.clicks, tables.rewards)
    )
    return Sides(clicks.withColumn("hour", F.hour(F.timestamp_millis("t_ms"))), rewards)


def measures(sides: Sides, limits: DriftLimits) -> Iterator[Measure]:
    """Yields a measure of each column with a limit. A column with too few values on a side is left out."""
    # (of_day, day, user_id, events_per_user)
    a_day = sides.clicks.groupBy("of_day", "day", "user_id").agg(F.count("*").alias("events_per_user"))
    frames = {"events_per_user": a_day, "reward": sides.rewards, "propensity": sides.rewards}
    for name, limit in limits.psi.items():
        before, of_day = _counts(sides.clicks, F.col(name))
        rows = sum(before.values()), sum(of_day.values())
        if min(rows) >= limits.rows_min:
            yield index(name, before, of_day, limit)
    for name, limit in limits.ks.items():
        values = _values(frames.get(name, sides.clicks), name, limits.sample)
        rows = len(values[0]), len(values[1])
        if min(rows) >= limits.rows_min:
            yield Measure(name, "ks", float(stats.ks_2samp(*values).statistic), limit, rows)


def index(name: str, before: Counts, of_day: Counts, limit: float) -> Measure:
    """Returns the population stability index of a column's counts by category, beside what chance gives."""
    value = population_stability.psi(before, of_day)
    dealt = population_stability.by_chance(before, of_day, np.random.default_rng(SEED))
    rows = sum(before.values()), sum(of_day.values())
    return Measure(name, "psi", value, limit, rows, float(dealt.mean()), float(dealt.max()))


def _counts(table: DataFrame, column: Column) -> tuple[Counts, Counts]:
    # (of_day, name, count)
    counted = table.where(column.isNotNull()).groupBy("of_day", column.cast("string").alias("name")).count().collect()
    before, of_day = ({row["name"]: row["count"] for row in counted if row["of_day"] == side} for side in (False, True))
    return before, of_day


def _values(table: DataFrame, name: str, most: int) -> tuple[Any, Any]:
    """Returns up to `most` values of each side, drawn by hash, so that a rerun draws the same."""
    draw = F.xxhash64(*[F.col(each) for each in table.columns], F.lit(SEED))
    sides = (table.where((F.col("of_day") == side) & F.col(name).isNotNull()) for side in (False, True))
    drawn = (side.orderBy(draw).limit(most).select(F.col(name).cast("double")).toPandas() for side in sides)
    before, of_day = (each[name].to_numpy(np.float64) for each in drawn)
    return before, of_day


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
