"""Popular and trending lists by category and by place, and the category of each item.

popular    the items that most users wanted, each user counted once
trending   the same, but a user counts once a day, and half after covisitation.half_life_days
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.infra.files.keyed_rows import Faults, keyed_rows, value_of
from headrace.infra.files.values import identifier
from headrace.infra.settings import NightSettings
from headrace.jobs.batch.training import split
from headrace.schemas import redis_keys
from headrace.schemas.lists import Entry, Listed, encode
from headrace.udfs.factors.confidence import WEIGHTS

CATEGORY, N, VALUES = "category", 50, 1_000  # N: items of a list; VALUES: lists of a field, those with most users
WANTED = [*WEIGHTS, "rate"]
FACTS = pa.schema([(name, pa.string()) for name in ("user_id", *(f"_{place}" for place in redis_keys.PLACES))])
ROWS = 10_000  # of a batch
LeavesOut = Callable[[list[str]], Iterable[str]]


def placed(clicks: DataFrame, settings: NightSettings) -> DataFrame:
    """Returns the clicks with all of redis_keys.PLACES: from the shop's own file of shoppers, else from the click.

    Raises HeadraceError if the file cannot be read, or has no user_id.
    """
    if settings.shoppers:
        clicks = clicks.join(_shoppers(clicks.sparkSession, settings.shoppers), "user_id", "left")
    columns = {place: _first_value(clicks, f"_{place}", place) for place in redis_keys.PLACES}
    return clicks.withColumns(columns).drop(*(f"_{place}" for place in redis_keys.PLACES))


def _shoppers(spark: SparkSession, path: str) -> DataFrame:
    """Returns (user_id, _PLACE, ...), a row per shopper, for all of redis_keys.PLACES."""
    faults = Faults()
    rows = spark.createDataFrame(pa.Table.from_batches(_facts(path, faults), FACTS))
    if faults:
        print(f"night.shoppers: {path}: {faults}")
    # A shopper who is there twice gets the last value in order, which is always the same.
    return rows.groupBy("user_id").agg(*(F.max(f"_{place}").alias(f"_{place}") for place in redis_keys.PLACES))


def _facts(path: str, faults: Faults) -> Iterator[pa.RecordBatch]:
    rows = keyed_rows(path, ("user_id",), faults)
    while part := list(islice(rows, ROWS)):
        facts = [[value_of(row, place, identifier, faults) for row in part] for place in redis_keys.PLACES]
        yield pa.RecordBatch.from_arrays([[row.ids[0] for row in part], *facts], schema=FACTS)


def _first_value(clicks: DataFrame, *names: str) -> Column:
    """Returns the first of these columns that has a value; NULL if the clicks have none of them."""
    values = [F.nullif(F.col(name), F.lit("")) for name in names if name in clicks.columns]
    return F.coalesce(*values) if values else F.lit(None).cast("string")


def categories(clicks: DataFrame) -> dict[str, str]:
    """Returns the category of each item, from its newest event that names one."""
    named = clicks.where(F.col(CATEGORY).isNotNull() & (F.col("action") != "search"))
    newest = named.groupBy("item_id").agg(split.newest(CATEGORY))
    return {row["item_id"]: row[CATEGORY] for row in newest.collect()}


def lists(counted: DataFrame, version: str, as_of_ms: int, leaves_out: LeavesOut) -> dict[str, bytes]:
    """Returns each list by its Redis key. leaves_out: returns those of some items that no list may hold."""
    keys = {"users": redis_keys.popular_by, "decayed": redis_keys.trending_by}
    listed, by_key = _without(counted, leaves_out), {}
    for measure, key in keys.items():
        for row in _best(listed, measure).collect():
            entries = [Entry(item, score, row["value"]) for item, score in row["best"]]
            by_key[key(version, row["field"], row["value"])] = encode(Listed(version, as_of_ms, entries))
    return by_key


def _without(counted: DataFrame, leaves_out: LeavesOut) -> DataFrame:
    """Returns the counts of items that lists may hold; a stock list may leave few of them."""
    absent = [
        (item,) for item in leaves_out([row["item_id"] for row in counted.select("item_id").distinct().collect()])
    ]
    if not absent:
        return counted
    left_out = counted.sparkSession.createDataFrame(absent, "item_id STRING")
    return counted.join(F.broadcast(left_out), "item_id", "left_anti")


def counted(clicks: DataFrame, until: date, half_life_days: float) -> DataFrame:
    """Returns one row per (field, value, item): its users, and its users decayed."""
    fields = F.array(
        *(F.struct(F.lit(name).alias("field"), F.col(name).alias("value")) for name in (CATEGORY, *redis_keys.PLACES))
    )
    wanted = clicks.where(F.col("action").isin(WANTED)).select("user_id", "item_id", "day", F.inline(fields))
    # (user_id, item_id, day, field, value)
    wanted = wanted.where("value IS NOT NULL AND value != ''").distinct()
    age = F.datediff(F.lit(until), F.col("day"))
    weight = F.pow(F.lit(2.0), -age / F.lit(half_life_days))
    decayed = F.round(F.sum(weight), 7).alias("decayed")
    users = F.count_distinct("user_id").cast("double").alias("users")
    return wanted.groupBy("field", "value", "item_id").agg(users, decayed).cache()


def _best(counted: DataFrame, measure: str) -> DataFrame:
    """Returns (field, value, best: [(item, score)])."""
    place = F.row_number().over(Window.partitionBy("field", "value").orderBy(F.desc(measure), "item_id"))
    top = counted.withColumn("place", place).where(F.col("place") <= N)
    rows = top.groupBy("field", "value").agg(
        F.sum("users").alias("size"),
        F.transform(
            F.sort_array(F.collect_list(F.struct("place", "item_id", measure))),
            lambda each: F.struct(each["item_id"], each[measure]),
        ).alias("best"),
    )
    rank = F.row_number().over(Window.partitionBy("field").orderBy(F.desc("size"), "value"))
    return rows.withColumn("rank", rank).where(F.col("rank") <= VALUES)
