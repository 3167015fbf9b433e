"""Are the landed events fit to train on? The rules of infra/config/checks.toml as Great Expectations on Spark frames.

source     the lake: clicks and dead letters of the night's last `days` days
transform  each event's own rules (schema, nulls, ranges, uniqueness) on the events; freshness, volume, unknown items
           and robots on one row of figures about them
sink       check/ of the night, with report.html and report.json; or check-refused/, exit 3, and a line for each rule

A refusal changes nothing that readers see: the version that serves goes on. A night of long ago is of history, and
rules about how a living shop goes on refuse nothing.

Run: headrace run check --date 2026-01-31
"""

import argparse
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
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
LIVING = ("age_h", "volume", "unknown_share", "busiest_per_minute")
Judge = Callable[[CheckRule], CheckRule]
EVENT = [*KEYS[topics.CLICKS], "item_id", "action", "t_ms", "append_ms", "rating", "price", "quantity", "day"]


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    wanted = limits.checks(Path(load().night.checks_file))
    rules = check(Lake(session(STEP)), tonight, wanted, datetime.now(UTC).date())
    failed = [rule for rule in rules if not rule.passed]
    with tonight.writing(REFUSED if failed else STEP) as folder:
        check_report.write(folder, tonight.date, rules)
    if failed:
        lines = [f"check of {tonight.date} refused, see {tonight.folder / REFUSED}/report.html", *map(str, failed)]
        raise Refusal("\n  ".join(lines))
    asked = [rule for rule in rules if rule.asked]
    but = f", {len(rules) - len(asked)} not asked of a night of history" if len(asked) < len(rules) else ""
    print(f"check of {tonight.date}: {len(asked)} rules passed{but}, see {tonight.folder / STEP}/report.html")


def check(lake: Lake, of: Night, wanted: limits.Checks, today: date) -> list[CheckRule]:
    """Returns what became of each rule. Raises Refusal if the lake has no clicks of the days to look at."""
    snapshot = lake.landed(of.date)
    since = (of.date - timedelta(days=wanted.days - 1)).isoformat()
    files = [f for f in snapshot.files.get(topics.CLICKS, []) if since <= f.day <= of.date.isoformat()]
    if not files:
        none = f"check of {of.date} refused: the lake {lake.root} has no clicks from {since} to {of.date}"
        raise Refusal(f"{none}; {newest(lake, of)}")
    arrived = lake.rows(topics.CLICKS, files)
    events = once(arrived, topics.CLICKS).select(*EVENT).persist()
    letters = lake.read(topics.DEAD_LETTERS, of.date, snapshot).where((F.col("topic") == topics.CLICKS) & _of_day(of))
    try:
        numbers = figures(events, of)
        total = numbers["events"] or 0
        numbers["repeat_share"] = 1 - total / arrived.count()
        refused = letters.count()
        numbers["refused_share"] = refused / max(1, refused + (numbers["day_events"] or 0))
        rules = expectations.run(lake.as_written(files), events, numbers, wanted.limits)
    finally:
        events.unpersist()
    judge: Judge = of_history if (today - of.date).days > wanted.history_days else of_a_living_shop(lake, of)
    return [rule if rule.passed else judge(rule) for rule in rules]


def newest(lake: Lake, of: Night) -> str:
    """Returns of which day the newest clicks are, and what to type for a night of them."""
    days = [file.day for file in lake.snapshot().files.get(topics.CLICKS, [])]
    if not days:
        return "there are none at all: `headrace run import_file` brings those of a file"
    if of.date.isoformat() in days:
        return f"those of {of.date} came after the night landed: `headrace run land --date {of.date} --again`"
    return f"the newest are of {max(days)}: `headrace retrain --date {max(days)}`"


def of_history(rule: CheckRule) -> CheckRule:
    return msgspec.structs.replace(rule, passed=True, asked=False) if rule.rule in LIVING else rule


def of_a_living_shop(lake: Lake, of: Night) -> Judge:
    """Returns a function that adds to a failed rule what to do if the data are right as they are."""
    advice = {
        "age_h": newest(lake, of),
        "volume": f"if the day is not whole: `headrace retrain --date {of.date - timedelta(days=1)}`",
        "busiest_per_minute": "if times are only days or orders: a higher limit in night.checks_file",
    }
    return lambda rule: msgspec.structs.replace(rule, advice=advice.get(rule.rule, ""))


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
