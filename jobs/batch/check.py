"""Are the landed events fit to train on? The rules of infra/config/checks.toml as Great Expectations on Spark frames.

source     the lake: clicks and dead letters of the night's last `days` days
transform  each event's own rules (schema, nulls, ranges, uniqueness) on the events; freshness, volume, unknown items
           and robots on one row of figures about them
sink       check/ of the night, with report.html and report.json; or check-refused/, exit 3, and a line for each rule

A refusal changes nothing that readers see: the version that serves goes on.

Run: headrace run check --date 2026-01-31
"""

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.infra.errors import Refusal
from headrace.infra.settings import load
from headrace.infra.versions import store
from headrace.jobs.batch import night
from headrace.jobs.batch.judging import check_report, expectations, limits
from headrace.jobs.batch.judging.expectations import CheckRule
from headrace.jobs.batch.lake.tables import KEYS, Lake, once
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.schemas import topics

STEP, REFUSED = "check", "check-refused"
WEEK = 7
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
EVENT = [*KEYS[topics.CLICKS], "item_id", "action", "t_ms", "append_ms", "rating", "price", "quantity", "day"]


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    rules = check(Lake(session(STEP)), tonight, limits.checks(Path(load().night.checks_file)))
    failed = [rule for rule in rules if not rule.passed]
    with tonight.writing(REFUSED if failed else STEP) as folder:
        check_report.write(folder, tonight.date, rules)
    if failed:
        lines = [f"check of {tonight.date} refused, see {tonight.folder / REFUSED}/report.html", *map(str, failed)]
        raise Refusal("\n  ".join(lines))
    print(f"check of {tonight.date}: {len(rules)} rules passed, see {tonight.folder / STEP}/report.html")


def check(lake: Lake, of: Night, wanted: limits.Checks) -> list[CheckRule]:
    """Returns what became of each rule. Raises Refusal if the lake has no clicks of the days to look at."""
    snapshot = lake.landed(of.date)
    since = (of.date - timedelta(days=wanted.days - 1)).isoformat()
    files = [f for f in snapshot.files.get(topics.CLICKS, []) if since <= f.day <= of.date.isoformat()]
    if not files:
        raise Refusal(f"check of {of.date} refused: the lake {lake.root} has no clicks from {since} to {of.date}")
    arrived = lake.rows(topics.CLICKS, files)
    events = once(arrived, topics.CLICKS).select(*EVENT).persist()
    letters = lake.read(topics.DEAD_LETTERS, of.date, snapshot).where((F.col("topic") == topics.CLICKS) & _of_day(of))
    try:
        numbers = figures(events, of)
        total = numbers["events"] or 0
        numbers["repeat_share"] = 1 - total / arrived.count()
        refused = letters.count()
        numbers["refused_share"] = refused / max(1, refused + (numbers["day_events"] or 0))
        return expectations.run(lake.as_written(files), events, numbers, wanted.limits)
    finally:
        events.unpersist()


def figures(events: DataFrame, of: Night) -> dict[str, float | None]:
    """Returns figures of the events up to the night's day; None where there is nothing to compare with."""
    by_day = {row.day: row["count"] for row in events.groupBy("day").count().collect()}
    week = [by_day.get(of.date - timedelta(days=n), 0) for n in range(1, WEEK + 1)]
    begun = [n for n in week if n] and week[: max(n for n, count in enumerate(week, 1) if count)]
    # (user_id, minute, count)
    users = events.groupBy("user_id", F.floor(F.col("t_ms") / MINUTE_MS).alias("minute")).count()
    total, day = sum(by_day.values()), by_day.get(of.date, 0)
    busiest = users.groupBy("user_id").agg(F.sum("count").alias("n")).agg(F.max("n")).first()[0]
    return {
        "events": total,
        "day_events": day,
        "age_h": (of.end_ms - events.agg(F.max("t_ms")).first()[0]) / HOUR_MS,
        "volume": day / (sum(begun) / len(begun)) if begun else None,
        "unknown_share": _unknown(events.where(_of_day(of)), day),
        "busiest_share": busiest / total,
        "busiest_per_minute": users.agg(F.max("count")).first()[0],
    }


def _of_day(of: Night) -> Any:
    return F.col("day") == F.lit(of.date)


def _unknown(events: DataFrame, total: int) -> float | None:
    """Returns the share of events on items that the serving version does not know; None if no version serves."""
    serving = store.current()
    if serving is None or not total:
        return None
    items = [(item,) for item in store.load(serving.version).contents.items]
    known = events.sparkSession.createDataFrame(items, "item_id STRING")
    return float(events.join(F.broadcast(known), "item_id", "left_anti").count() / total)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
