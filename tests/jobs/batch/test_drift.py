"""Drift between days whose distributions are known."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyspark")

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from headrace.jobs.batch import drift, night
from headrace.jobs.batch.drift import Sides
from headrace.jobs.batch.judging.limits import DriftLimits, drift_limits
from headrace.jobs.batch.lake import tables
from headrace.schemas import topics

pytestmark = pytest.mark.spark
TODAY = date(2026, 1, 31)
COLUMNS = "user_id STRING, action STRING, hour INT, device STRING, price DOUBLE, day DATE, of_day BOOLEAN"
PSI, KS = {"action": 0.25, "hour": 0.25, "device": 0.25}, {"price": 0.15, "events_per_user": 0.15}
LIMITS = DriftLimits(7, 450, 5000, PSI, KS)


def day(n: int, clicks_share: float, price: float, users: int, events: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    shown = TODAY - timedelta(days=n)
    return pd.DataFrame(
        {
            "user_id": rng.integers(users, size=events).astype(str),
            "action": np.where(rng.random(events) < clicks_share, "click", "view"),
            "hour": rng.integers(24, size=events),
            "device": None,
            "price": rng.exponential(price, size=events),
            "day": shown,
            "of_day": n == 0,
        }
    )


def sides(spark: Any, today: pd.DataFrame) -> Sides:
    before = [day(n, 0.3, 10.0, 500) for n in (1, 2, 3)]
    clicks = spark.createDataFrame(pd.concat([*before, today]), COLUMNS)
    return Sides(clicks, spark.createDataFrame([], "reward DOUBLE, propensity DOUBLE, of_day BOOLEAN"))


def test_a_day_like_the_others_is_no_drift(spark: Any) -> None:
    found = list(drift.measures(sides(spark, day(0, 0.3, 10.0, 500)), LIMITS))
    assert {each.name for each in found} == {"action", "hour", "price", "events_per_user"}  # no device is known
    assert not [each for each in found if each.is_beyond]
    assert max(each.value for each in found if each.kind == "psi") < 0.05


def test_what_moved_is_named_and_nothing_else(spark: Any) -> None:
    today = day(0, 0.7, 20.0, 500)
    found = list(drift.measures(sides(spark, today), LIMITS))
    assert {each.name for each in found if each.is_beyond} == {"action", "price"}
    (price,) = [each for each in found if each.name == "price"]
    assert price.value == pytest.approx(0.25, abs=0.05)  # the most that e^-x/2 is above e^-x


def zipf(events: int, categories: int, shift: int = 0) -> dict[str, int]:
    """Returns a sample of events by category, of which the n-th most common has a share as 1 / n. shift: of names."""
    shares = 1 / np.arange(1, categories + 1)
    counts = np.random.default_rng(events + shift).multinomial(events, shares / shares.sum())
    return {str((n + shift) % categories): int(count) for n, count in enumerate(counts)}


@pytest.mark.parametrize("categories", [2, 24, 500, 2000, 20_000])
def test_of_any_number_of_categories_those_that_moved_are_beyond_and_no_others(categories: int) -> None:
    before = zipf(7000, categories)
    assert not drift.index("category", before, zipf(1000, categories), 0.25).is_beyond
    assert drift.index("category", before, zipf(1000, categories, shift=5), 0.25).is_beyond


@pytest.mark.parametrize(
    ("chance", "chance_max", "is_beyond"),
    [(0.0, 0.0, True), (0.25, 0.3, False), (0.249, 0.3, True), (0.1, 0.499, True), (0.1, 0.5, False)],
)
def test_beyond_is_more_than_the_limit_above_chance_and_more_than_chance_reached(
    chance: float, chance_max: float, is_beyond: bool
) -> None:
    assert drift.Measure("category", "psi", 0.5, 0.25, (9, 9), chance, chance_max).is_beyond == is_beyond


def test_too_few_rows_are_not_judged(spark: Any) -> None:
    assert list(drift.measures(sides(spark, day(0, 0.9, 99.0, 500, events=400)), LIMITS)) == []


def test_a_limit_of_another_name_is_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "drift.toml"
    wrong.write_text("reference_day = 7")
    with pytest.raises(Exception, match="reference_day"):
        drift_limits(wrong)


def test_the_job_reads_the_lake_and_says_what_is_beyond(
    spark: Any, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    days = pd.concat([day(n, 0.3 if n else 0.7, 10.0, 500) for n in range(3)])
    rows = spark.createDataFrame(days, COLUMNS).withColumns(
        {
            "event_id": F.expr("uuid()"),
            "t_ms": F.unix_millis(F.col("day").cast("timestamp")) + F.col("hour") * 3_600_000,
            "table": F.lit(topics.CLICKS),
        }
    )
    of_table = StructType.fromDDL(tables.COLUMNS[topics.CLICKS])
    missing = {field.name: F.lit(None).cast(field.dataType) for field in of_table if field.name not in rows.columns}
    shop = tables.Lake(spark)
    written = shop.write(rows.drop("of_day", "hour").withColumns(missing), "test")
    shop.commit(lambda now: tables.with_files(now, written))
    drift.main(night.arguments(None).parse_args(["--date", TODAY.isoformat()]))
    report = json.loads((tmp_path / "nights" / TODAY.isoformat() / "drift" / "report.json").read_text())
    assert report["beyond"] == ["action"]
    assert {each["name"] for each in report["measures"]} == {"action", "hour", "price"}  # of users there are too few
    assert f"drift of {TODAY}: action" in capsys.readouterr().out
