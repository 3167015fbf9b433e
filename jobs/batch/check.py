"""Are the landed events fit to train on? The rules of infra/config/checks.toml as Great Expectations on Spark frames.

source     the lake: clicks, impressions, rewards and dead letters of the night's last `days` days
transform  rules on the day's files and events; and on a row of figures: freshness, volume, actions, devices, prices and
           users beside the days before, unknown items, robots, impressions and rewards
sink       check/ of the night, with report.html, report.json and validation.json (what Great Expectations says); or
           check-refused/, exit 3, and a line for each rule

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
from headrace.jobs.batch.judging import check_report, day_figures, expectations, impression_figures, limits
from headrace.jobs.batch.judging.day_figures import SHAPE, Figures
from headrace.jobs.batch.judging.expectations import CheckRule, Judged
from headrace.jobs.batch.lake.tables import KEYS, File, Lake, once
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.schemas import topics

STEP, REFUSED = "check", "check-refused"
FILES_MAX = 64  # whose columns are read one by one
ALWAYS = ("null_share", "column", "repeat_share", "refused_share", "busiest_share", "free_share", "orphan")
Judge = Callable[[CheckRule], CheckRule]
EVENT = [*KEYS[topics.CLICKS], "item_id", "action", "t_ms", "append_ms", "day", *day_figures.OPTIONAL]


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    wanted = limits.checks(Path(load().night.checks_file))
    rules, results = check(Lake(session(STEP)), tonight, wanted, datetime.now(UTC).date())
    failed = [rule for rule in rules if not rule.passed]
    with tonight.writing(REFUSED if failed else STEP) as folder:
        check_report.write(folder, tonight, rules, results)
    if failed:
        lines = [f"check of {tonight.date} refused, see {tonight.folder / REFUSED}/report.html", *map(str, failed)]
        raise Refusal("\n  ".join(lines))
    asked = [rule for rule in rules if rule.asked]
    but = f", {len(rules) - len(asked)} not asked of a night of history" if len(asked) < len(rules) else ""
    print(f"check of {tonight.date}: {len(asked)} rules passed{but}, see {tonight.folder / STEP}/report.html")


def check(lake: Lake, of: Night, wanted: limits.Checks, today: date) -> Judged:
    """Returns what became of each rule. Raises Refusal if the lake has no clicks of the days to look at."""
    looked = Looked(lake, of, of.date - timedelta(days=wanted.days - 1))
    files = looked.files(topics.CLICKS)
    if not files:
        none = f"check of {of.date} refused: the lake {lake.root} has no clicks from {looked.since} to {of.date}"
        raise Refusal(f"{none}; {newest(lake, of)}")
    arrived = lake.rows(topics.CLICKS, files)
    events = once(arrived, topics.CLICKS).select(*EVENT).withColumn(SHAPE, day_figures.shape()).persist()
    try:
        figures = looked.figures(events, arrived.count())
        columns = common_columns(lake, [file for file in files if file.day == of.date.isoformat()] or files)
        judged = expectations.run(columns, events.where(_of_day(of)), figures, wanted.limits)
    finally:
        events.unpersist()
    judge: Judge = of_history if (today - of.date).days > wanted.history_days else of_a_living_shop(lake, of)
    return judged._replace(rules=[rule if rule.passed else judge(rule) for rule in judged.rules])


class Looked:
    """The days of the lake that are looked at, as the night landed them."""

    def __init__(self, lake: Lake, of: Night, since: date) -> None:
        self.lake, self.of, self.since = lake, of, since
        self.snapshot = lake.landed(of.date)

    def files(self, table: str) -> list[File]:
        days = (self.since.isoformat(), self.of.date.isoformat())
        return [file for file in self.snapshot.files.get(table, []) if days[0] <= file.day <= days[1]]

    def figures(self, events: DataFrame, arrived: int) -> Figures:
        """Returns what the rules judge. arrived: rows of the files, with repeats."""
        found = day_figures.of_clicks(events, self.of.date, self.of.end_ms)
        letters = self.lake.read(topics.DEAD_LETTERS, self.of.date, self.snapshot)
        refused = letters.where((F.col("topic") == topics.CLICKS) & _of_day(self.of)).count()
        day = found.numbers["day_events"] or 0
        served = _served(self.lake)
        more = {
            "repeat_share": 1 - (found.numbers["events"] or 0) / arrived,
            "refused_share": refused / max(1, refused + day),
            "unknown_share": _unknown(events.where(_of_day(self.of)), served, day),
        }
        return found._replace(numbers=found.numbers | more | self._of_impressions(events, served))

    def _of_impressions(self, events: DataFrame, served: DataFrame | None) -> dict[str, float | None]:
        shown, paid = self.files(topics.IMPRESSIONS), self.files(topics.REWARDS)
        if not shown and not paid:
            return {}
        known = events.select("item_id").union(served) if served else events.select("item_id")
        impressions = once(self.lake.rows(topics.IMPRESSIONS, shown), topics.IMPRESSIONS)
        rewards = once(self.lake.rows(topics.REWARDS, paid), topics.REWARDS)
        return impression_figures.of_impressions(events, impressions, rewards, known.distinct(), self.of.date)


def common_columns(lake: Lake, files: list[File]) -> list[str]:
    """Returns the columns that every file has."""
    columns = [lake.as_written([file]).columns for file in files[:FILES_MAX]]
    return [column for column in columns[0] if all(column in each for each in columns)]


def newest(lake: Lake, of: Night) -> str:
    """Returns of which day the newest clicks are, and what to type for a night of them."""
    days = [file.day for file in lake.snapshot().files.get(topics.CLICKS, [])]
    if not days:
        return "there are none at all: `headrace run import_file` brings those of a file"
    if of.date.isoformat() in days:
        return f"those of {of.date} came after the night landed: `headrace run land --date {of.date} --again`"
    return f"the newest are of {max(days)}: `headrace retrain --date {max(days)}`"


def of_history(rule: CheckRule) -> CheckRule:
    return rule if rule.rule.startswith(ALWAYS) else msgspec.structs.replace(rule, passed=True, asked=False)


def of_a_living_shop(lake: Lake, of: Night) -> Judge:
    """Returns a function that adds to a failed rule what to do if the data are right as they are."""
    advice = {
        "age_h": newest(lake, of),
        "volume": f"if the day is not whole: `headrace retrain --date {of.date - timedelta(days=1)}`",
        "busiest_per_minute": "if times are only days or orders: a higher limit in night.checks_file",
    }
    return lambda rule: msgspec.structs.replace(rule, advice=advice.get(rule.rule, ""))


def _of_day(of: Night) -> Any:
    return F.col("day") == F.lit(of.date)


def _served(lake: Lake) -> DataFrame | None:
    """Returns the items of the version that serves; None if none does."""
    serving = store.current()
    if serving is None:
        return None
    return lake.spark.createDataFrame([(item,) for item in store.items(serving.version)], "item_id STRING")


def _unknown(day: DataFrame, served: DataFrame | None, total: float) -> float | None:
    """Returns the share of the day's events on items that are not served."""
    if served is None or not total:
        return None
    return float(day.join(F.broadcast(served), "item_id", "left_anti").count() / total)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
