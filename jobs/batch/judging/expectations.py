"""The rules of a night's events as suites of Great Expectations, and the result of each in our words."""

import os
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # else it reports every use to its maker; read on import

import great_expectations as gx
import great_expectations.expectations as gxe
import msgspec
from great_expectations.data_context.types.base import ProgressBarsConfig
from pyspark.sql import DataFrame

from headrace.jobs.batch.judging.limits import CheckLimits
from headrace.jobs.batch.lake.tables import COLUMNS, KEYS, RECORDS
from headrace.schemas import enum, load, topics

EVERY = (*KEYS[topics.CLICKS], "item_id", "action", "t_ms", "append_ms")
CLICK = RECORDS[topics.CLICKS]
RANGED = ("rating", "price", "quantity")
SHOWN = 3  # values that break a rule, as examples


class CheckRule(msgspec.Struct, frozen=True):
    rule: str
    limit: str
    value: str
    passed: bool
    asked: bool = True  # else it failed, and that refuses nothing
    advice: str = ""  # what to do if the data are right as they are

    def __str__(self) -> str:
        return f"{self.rule}: must be {self.limit}, got {self.value}" + (self.advice and f" ({self.advice})")


def run(files: DataFrame, events: DataFrame, figures: dict[str, float | None], limits: CheckLimits) -> list[CheckRule]:
    """Returns the result of each rule. files: the rows as written; figures: of the night, as a frame of one row."""
    columns = ", ".join(f"{name} DOUBLE" for name in figures)
    row = tuple(None if value is None else float(value) for value in figures.values())
    frames = {"files": files, "events": events, "night": events.sparkSession.createDataFrame([row], columns)}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_spark("lake")
    wanted = {"files": _files(), "events": _events(limits), "night": _night(limits)}
    rules: list[CheckRule] = []
    for name, expectations in wanted.items():
        asset = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("night")
        suite = gx.ExpectationSuite(name=name, expectations=expectations)
        validation = asset.get_batch(batch_parameters={"dataframe": frames[name]}).validate(suite)
        rules += [_rule(each, figures) for each in validation.results]
    return rules


def _files() -> list[Any]:
    columns = [part.split()[0].strip("`") for part in COLUMNS[topics.CLICKS].split(", ")]
    return [gxe.ExpectColumnToExist(column=column, meta=_meta(f"column {column}", "there")) for column in columns]


def _events(limits: CheckLimits) -> list[Any]:
    actions, key = enum(CLICK, "action"), list(KEYS[topics.CLICKS])
    expected: list[Any] = [
        gxe.ExpectColumnValuesToBeInSet(
            column="action", value_set=actions, meta=_meta("action", "one of the schema's")
        ),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=key, meta=_meta("event", "there once")),
    ]
    for field in load(CLICK)["fields"]:
        if field["name"] in RANGED:
            low, high = field["minimum"], field["maximum"]
            expected.append(_between(field["name"], _meta(field["name"], f"from {low} to {high}"), low, high))
    if (share := limits.null_share) is not None:
        for column in EVERY:
            meta = _meta(f"null_share of {column}", f"<= {share:g}")
            expected.append(gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=1 - share, meta=meta))
    return expected


def _night(limits: CheckLimits) -> list[Any]:
    """Returns the expectations of the night's figures. A figure without a value passes."""
    expected = []
    for name, limit in msgspec.structs.asdict(limits).items():
        if name == "null_share" or limit is None:
            continue
        column = name.removesuffix("_min").removesuffix("_max")
        if name.endswith("_min"):
            expected.append(_between(column, _meta(column, f">= {limit:g}"), limit, None))
        else:
            expected.append(_between(column, _meta(column, f"<= {limit:g}"), None, limit))
    return expected


def _between(column: str, meta: dict[str, str], low: float | None, high: float | None) -> Any:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, meta=meta)


def _meta(rule: str, limit: str) -> dict[str, str]:
    return {"rule": rule, "limit": limit}


def _rule(result: Any, figures: dict[str, float | None]) -> CheckRule:
    meta, counts = result.expectation_config.meta, result.result
    if result.exception_info.get("raised_exception"):
        value = f"an error: {result.exception_info['exception_message']}"
    elif meta["rule"] in figures:
        figure = figures[meta["rule"]]
        value = "nothing to compare with" if figure is None else f"{figure:.4g}"
    elif "element_count" in counts:
        value = _broken(counts)
    else:
        value = "there" if result.success else "none"
    return CheckRule(meta["rule"], meta["limit"], value, bool(result.success))


def _broken(counts: dict[str, Any]) -> str:
    share = counts["unexpected_count"] / max(1, counts["element_count"])
    such = [each for each in counts["partial_unexpected_list"][:SHOWN] if each is not None]
    return f"{share:.4g} of the events otherwise" + (f", such as {', '.join(map(str, such))}" if such else "")
