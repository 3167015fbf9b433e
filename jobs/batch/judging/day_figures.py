"""Figures of a day's clicks beside those of the days before it: docs/night.md, "The check".

A value, such as an action, is judged if the days before let expect at least EXPECTED events of it on the day: of fewer,
none at all may be chance.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

WEEK = 7
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
EXPECTED = 20  # events; with a mean of 20 fewer than 4 come once in 300,000 days
SHAPES_MAX = 1000  # of item ids
PARTS = ("action", "device", "location", "category")
OPTIONAL = ("category", "price", "device", "location", "session_id", "impression_id", "rating")
SHAPE = "item_shape"


class Figures(NamedTuple):
    """What the rules judge."""

    numbers: dict[str, float | None]  # None where there is nothing to compare with
    names: dict[str, str]  # which value a number is of, such as an action
    filled: dict[str, float]  # share of the events of the week before with a value, by column
    shapes: tuple[str, ...]  # of the item ids of the days before


class Counts(NamedTuple):
    """Of each day that has events."""

    events: dict[date, int]
    users: dict[date, int]
    new: dict[date, int]  # users without an event on a day before, of those that are looked at
    busiest: int  # events of the user with the most


def of_clicks(events: DataFrame, day: date, end_ms: int) -> Figures:
    """Returns the figures of the events up to the day. events: with SHAPE."""
    counts, week = _counts(events), [day - timedelta(days=n) for n in range(1, WEEK + 1)]
    begun = [each for each in week if each >= min(counts.events)]
    total, own = sum(counts.events.values()), counts.events.get(day, 0)
    numbers: dict[str, float | None] = {
        "events": total,
        "day_events": own,
        "volume": volume(counts.events, day),
        "busiest_share": counts.busiest / total,
        "busiest_per_minute": _busiest_per_minute(events),
        "new_users_rise": _new_users_rise(counts, day, begun),
    }
    columns, recent = _columns(events, day, week), events.where(F.col("day").isin([day, *week]))
    before = columns["before"]
    numbers["age_h"] = (end_ms - columns["newest"]) / HOUR_MS
    numbers["price"] = _ratio(columns["price_day"], columns["price_before"])
    values, names = _parts(recent, day, own, before)
    filled = {name: columns[f"filled_{name}"] / before for name in OPTIONAL if before}
    expected = {name: share for name, share in filled.items() if share * own >= EXPECTED}
    return Figures(numbers | values, names, expected, _shapes(events, day))


def volume(by_day: Mapping[date, int], day: date) -> float | None:
    """Returns the day's number over the mean of the week before it, from the first day of the week with any."""
    week = [by_day.get(day - timedelta(days=n), 0) for n in range(1, WEEK + 1)]
    begun = week[: max((n for n, count in enumerate(week, 1) if count), default=0)]
    return by_day.get(day, 0) / (sum(begun) / len(begun)) if begun else None


def shape() -> Column:
    """Returns the kind of an item's id: its length, whether it begins with 0, and which characters it is made of."""
    item = F.col("item_id")
    others = F.regexp_replace(item, "[0-9A-Za-z]", "")
    classes = [F.when(item.rlike(f"[{each}]"), each).otherwise("") for each in ("0-9", "a-z", "A-Z")]
    others = F.array_join(F.array_sort(F.array_distinct(F.split(others, ""))), "")
    zero = F.when(item.startswith("0"), "0...").otherwise("")
    return F.concat(zero, *classes, others, F.lit(" x "), F.length(item).cast("string"))


def _counts(events: DataFrame) -> Counts:
    """Counts without a shuffle: `once` has the events of a user together already."""
    own = Window.partitionBy("user_id")
    days = events.groupBy("user_id", "day").count()
    days = days.withColumn("first", F.min("day").over(own)).withColumn("all", F.sum("count").over(own))
    new = F.sum(F.when(F.col("first") == F.col("day"), 1).otherwise(0))
    rows = days.groupBy("day").agg(F.sum("count"), F.count("*"), new, F.max("all")).collect()
    counted, users, starting = ({row[0]: int(row[n]) for row in rows} for n in (1, 2, 3))
    return Counts(counted, users, starting, max(int(row[4]) for row in rows))


def _busiest_per_minute(events: DataFrame) -> float:
    minutes = events.groupBy("user_id", F.floor(F.col("t_ms") / MINUTE_MS)).count()
    return float(minutes.agg(F.max("count")).collect()[0][0])


def _new_users_rise(counts: Counts, day: date, begun: list[date]) -> float | None:
    """Returns how far the share of new users is above its mean of the week before."""
    before = [counts.new[each] / counts.users[each] for each in begun if each in counts.users]
    if not before or day not in counts.users:
        return None
    return counts.new[day] / counts.users[day] - sum(before) / len(before)


def _columns(events: DataFrame, day: date, week: list[date]) -> dict[str, Any]:
    """Returns the newest time; the median prices of the day and of the week before, and how much that week filled."""
    is_day, is_before = F.col("day") == F.lit(day), F.col("day").isin(week)
    price = F.when(F.col("price") > 0, F.col("price"))
    row = events.agg(
        F.max("t_ms").alias("newest"),
        F.count(F.when(is_before, 1)).alias("before"),
        F.percentile_approx(F.when(is_day, price), 0.5).alias("price_day"),
        F.percentile_approx(F.when(is_before, price), 0.5).alias("price_before"),
        *(F.count(F.when(is_before, F.col(name))).alias(f"filled_{name}") for name in OPTIONAL),
    ).collect()[0]
    return dict(row.asDict())


def _ratio(value: float | None, before: float | None) -> float | None:
    return value / before if value is not None and before else None


def _parts(recent: DataFrame, day: date, own: int, before: int) -> tuple[dict[str, float | None], dict[str, str]]:
    """Returns the greatest loss and growth of a share among the values of each column, and whose they are."""
    pairs = F.explode(F.array(*(F.struct(F.lit(name).alias("part"), F.col(name).alias("value")) for name in PARTS)))
    is_day = (F.col("day") == F.lit(day)).alias("is_day")
    rows = recent.select(is_day, pairs.alias("pair")).where("pair.value IS NOT NULL").groupBy("is_day", "pair").count()
    count = Counter({(row.pair.part, row.pair.value, row.is_day): row["count"] for row in rows.collect()})
    numbers: dict[str, float | None] = {}
    names: dict[str, str] = {}
    for part in PARTS:
        expected = {value: n * own / before for (name, value, today), n in count.items() if name == part and not today}
        ratios = {value: count[part, value, True] / n for value, n in expected.items() if n >= EXPECTED}
        least, most = (of(ratios, key=ratios.__getitem__, default="") for of in (min, max))
        numbers |= {f"{part}_lost": 1 - ratios[least] if least else None, f"{part}_grown": ratios.get(most)}
        names |= {f"{part}_lost": least, f"{part}_grown": most}
    return numbers, names


def _shapes(events: DataFrame, day: date) -> tuple[str, ...]:
    before = events.where(F.col("day") < F.lit(day)).groupBy(SHAPE).count()
    return tuple(row[0] for row in before.orderBy(F.desc("count"), SHAPE).limit(SHAPES_MAX).collect())
