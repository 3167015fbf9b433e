"""What is wanted by whom: popular and trending lists by category and by place, and the category of each item.

popular    the items that most users wanted, each user once
trending   the same, but a user counts once a day, and half after covisitation.half_life_days
"""

from collections.abc import Callable, Container
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import NightSettings
from headrace.schemas import redis_keys
from headrace.schemas.lists import Entry, Listed, encode
from headrace.udfs.factors.confidence import WEIGHTS

CATEGORY, N, VALUES = "category", 50, 1_000  # items of a list; lists a field: those of the most users
WANTED = [*WEIGHTS, "rate"]
LeavesOut = Callable[[list[str]], Container[str]]


def placed(clicks: DataFrame, settings: NightSettings) -> DataFrame:
    """Clicks with all of redis_keys.PLACES: what the shop's own file says of a shopper stands before the click's."""
    known = _shoppers(clicks, settings.shoppers) if settings.shoppers else None
    told = [] if known is None else [name for name in redis_keys.PLACES if name in known.columns]
    if known is not None and told:  # of a shopper who is there twice, the last value in their order: always the same
        of_each = known.groupBy("user_id").agg(*(F.max(F.col(name).cast("string")).alias(f"_{name}") for name in told))
        clicks = clicks.join(of_each, "user_id", "left")
    both = {
        name: [F.nullif(F.col(each), F.lit("")) for each in (f"_{name}", name) if each in clicks.columns]
        for name in redis_keys.PLACES
    }
    columns = {name: F.coalesce(*found) if found else F.lit(None).cast("string") for name, found in both.items()}
    return clicks.withColumns(columns).drop(*(f"_{name}" for name in told))


def _shoppers(clicks: DataFrame, path: str) -> DataFrame:
    reader = clicks.sparkSession.read
    found = reader.parquet(path) if path.endswith(".parquet") else reader.csv(path, header=True)
    if "user_id" not in found.columns:
        raise HeadraceError(f"night.shoppers: {path} must have a column user_id, got {', '.join(found.columns)}")
    return found


def categories(clicks: DataFrame) -> dict[str, str]:
    """Of each item, as its newest event that names one says."""
    named = clicks.where(F.col(CATEGORY).isNotNull() & (F.col("action") != "search"))
    newest = named.groupBy("item_id").agg(F.max_by(CATEGORY, F.struct("t_ms", "event_id")).alias(CATEGORY))
    return {row["item_id"]: row[CATEGORY] for row in newest.collect()}


def lists(counted: DataFrame, version: str, as_of_ms: int, leaves_out: LeavesOut) -> dict[str, bytes]:
    """Each list by its Redis key. leaves_out: those of some items that no list may hold."""
    keys = {"users": redis_keys.popular_by, "decayed": redis_keys.trending_by}
    by_key: dict[str, bytes] = {}
    for measure, key in keys.items():
        for row in _best(counted, measure).collect():
            absent = leaves_out([item for item, _ in row["best"]])
            entries = [Entry(item, score, row["value"]) for item, score in row["best"] if item not in absent][:N]
            if entries:
                by_key[key(version, row["field"], row["value"])] = encode(Listed(version, as_of_ms, entries))
    return by_key


def counted(clicks: DataFrame, until: date, half_life_days: float) -> DataFrame:
    """One row per (field, value, item): users, and users decayed."""
    fields = F.array(
        *(F.struct(F.lit(name).alias("field"), F.col(name).alias("value")) for name in (CATEGORY, *redis_keys.PLACES))
    )
    wanted = clicks.where(F.col("action").isin(WANTED)).select("user_id", "item_id", "day", F.inline(fields))
    wanted = wanted.where("value IS NOT NULL AND value != ''").distinct()
    age = F.datediff(F.lit(until), F.col("day"))
    weight = F.pow(F.lit(2.0), -age / F.lit(half_life_days))
    decayed = F.round(F.sum(weight), 7).alias("decayed")
    users = F.count_distinct("user_id").cast("double").alias("users")
    return wanted.groupBy("field", "value", "item_id").agg(users, decayed).cache()


def _best(counted: DataFrame, measure: str) -> DataFrame:
    """(field, value, best: [(item, score)]), more than are listed: some may be left out."""
    place = F.row_number().over(Window.partitionBy("field", "value").orderBy(F.desc(measure), "item_id"))
    top = counted.withColumn("place", place).where(F.col("place") <= 4 * N)
    rows = top.groupBy("field", "value").agg(
        F.sum("users").alias("size"),
        F.transform(
            F.sort_array(F.collect_list(F.struct("place", "item_id", measure))),
            lambda each: F.struct(each["item_id"], each[measure]),
        ).alias("best"),
    )
    rank = F.row_number().over(Window.partitionBy("field").orderBy(F.desc("size"), "value"))
    return rows.withColumn("rank", rank).where(F.col("rank") <= VALUES)
