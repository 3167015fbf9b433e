"""The rules of a night's events as suites of Great Expectations, and the result of each in our words."""

import os
from typing import Any, NamedTuple

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # else it reports every use to its maker; read on import

import great_expectations as gx
import great_expectations.expectations as gxe
import msgspec
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from pyspark.sql import DataFrame

from headrace.jobs.batch.judging.day_figures import SHAPE, Figures
from headrace.jobs.batch.judging.limits import CheckLimits
from headrace.jobs.batch.lake.tables import COLUMNS, KEYS
from headrace.schemas import topics

EVERY = (*KEYS[topics.CLICKS], "item_id", "action", "t_ms", "append_ms")
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


class Judged(NamedTuple):
    rules: list[CheckRule]
    results: dict[str, Any]  # by suite: what Great Expectations says, with its counts


def run(columns: list[str], day: DataFrame, figures: Figures, limits: CheckLimits) -> Judged:
    """Returns the result of each rule. columns: that the day's files have; day: its events, with SHAPE.

    Only the rules on the day's rows cost Spark jobs: columns and figures are frames of pandas.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    lake, here = context.data_sources.add_spark("lake"), context.data_sources.add_pandas("figures")
    numbers = pd.DataFrame([figures.numbers], dtype=float)
    wanted: dict[str, tuple[Any, Any, list[Any]]] = {
        "files": (here, pd.DataFrame(columns=columns), _files()),
        "day": (lake, day, _day(figures, limits)),
        "night": (here, numbers, _night(figures.numbers, limits)),
    }
    judged = Judged([], {})
    for name, (source, frame, expectations) in wanted.items():
        asset = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("night")
        suite = gx.ExpectationSuite(name=name, expectations=expectations)
        validation = asset.get_batch(batch_parameters={"dataframe": frame}).validate(suite)
        judged.rules.extend(_rule(each, figures) for each in validation.results)
        judged.results[name] = validation.to_json_dict()
    return judged


def _files() -> list[Any]:
    columns = [part.split()[0].strip("`") for part in COLUMNS[topics.CLICKS].split(", ")]
    return [gxe.ExpectColumnToExist(column=column, meta=_meta(f"column {column}", "there")) for column in columns]


def _day(figures: Figures, limits: CheckLimits) -> list[Any]:
    """Returns the expectations of the day's rows. What the contract refused at landing is not asked again."""
    expected: list[Any] = []
    if (share := limits.null_share) is not None:
        expected += [_filled(column, f"null_share of {column}", 1 - share, f"<= {share:g}") for column in EVERY]
    if (least := limits.filled_min) is not None:
        for column, before in figures.filled.items():
            share = min(1.0, least * before)
            expected.append(_filled(column, f"filled {column}", share, f"in >= {share:.4g} of the events"))
    if (share := limits.free_share) is not None:
        meta = _meta("free_share", f"<= {share:g}")
        expected.append(
            gxe.ExpectColumnValuesToBeBetween(column="price", min_value=0, strict_min=True, mostly=1 - share, meta=meta)
        )
    if (share := limits.new_shape_share) is not None and figures.shapes:
        expected.append(
            gxe.ExpectColumnValuesToBeInSet(
                column=SHAPE, value_set=list(figures.shapes), mostly=1 - share,
                meta=_meta("new_shape_share", f"<= {share:g}"),
            )
        )  # fmt: skip
    return expected


def _night(numbers: dict[str, float | None], limits: CheckLimits) -> list[Any]:
    """Returns the expectations of the night's figures. A figure without a value passes."""
    expected = []
    for name, limit in msgspec.structs.asdict(limits).items():
        column = name.removesuffix("_min").removesuffix("_max")
        if limit is None or column not in numbers:
            continue
        if name.endswith("_min"):
            expected.append(_between(column, _meta(column, f">= {limit:g}"), limit, None))
        else:
            expected.append(_between(column, _meta(column, f"<= {limit:g}"), None, limit))
    return expected


def _filled(column: str, rule: str, share: float, limit: str) -> Any:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=share, meta=_meta(rule, limit))


def _between(column: str, meta: dict[str, str], low: float | None, high: float | None) -> Any:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, meta=meta)


def _meta(rule: str, limit: str) -> dict[str, str]:
    return {"rule": rule, "limit": limit}


def _rule(result: Any, figures: Figures) -> CheckRule:
    meta, counts = result.expectation_config.meta, result.result
    if result.exception_info.get("raised_exception"):
        value = f"an error: {result.exception_info['exception_message']}"
    elif meta["rule"] in figures.numbers:
        figure, whose = figures.numbers[meta["rule"]], figures.names.get(meta["rule"])
        value = "nothing to compare with" if figure is None else f"{figure:.4g}" + (f" ({whose})" if whose else "")
    elif "element_count" in counts:
        value = _broken(counts)
    else:
        value = "there" if result.success else "none"
    return CheckRule(meta["rule"], meta["limit"], value, bool(result.success))


def _broken(counts: dict[str, Any]) -> str:
    # GX leaves rows without a value out of what it judges, but where it asks for values.
    share = (counts["unexpected_percent"] or 0) / 100
    such = [each for each in counts["partial_unexpected_list"][:SHOWN] if each is not None]
    return f"{share:.4g} of the events otherwise" + (f", such as {', '.join(map(str, such))}" if such else "")
