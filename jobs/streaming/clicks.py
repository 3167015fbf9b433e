"""What the jobs that read `clicks` share: validation, and each user's history.

It declares three views. `validated` has every record, with its columns or the reason why it is refused. `good` has the
records that are not refused. `history` has the rows of udfs/jvm/UserHistory, by kind: 0 is a user's new state, 1 is a
closed span, 2 is an event that came too late.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from headrace.infra.settings import Session, Settings
from headrace.jobs.streaming import flink_tables
from headrace.schemas import topics
from headrace.udfs import event_time, session
from headrace.udfs.contract import Contract, Fault
from headrace.udfs.event_time import Milliseconds

ACTION_CODES = {action: code for code, action in enumerate(session.ACTIONS)}

# One view has all columns that any branch needs, so that the planner shares one validation among the branches
# (tests/jobs/streaming/test_plan.py checks it).
VALIDATED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.user_id, c.event_id, c.ts_ms, c.append_ms, c.action, c.item_id, c.category, c.session_id, c.amount,
           c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, checked(`value`, append_ts) AS c FROM clicks)"""
# (user_id, event_id, ts_ms, append_ms, ...): the valid clicks.
GOOD = """
    SELECT user_id, event_id, ts_ms, append_ms, action, item_id, category, session_id, amount,
           `key`, `value`, `partition`, `offset`, append_ts
    FROM validated WHERE reason IS NULL"""
# (user_id, kind, ...): a row for each new state, closed span and late event of a user.
HISTORY = """
    SELECT * FROM user_history(
      input => TABLE good PARTITION BY user_id, on_time => DESCRIPTOR(append_ts), uid => 'user_history')"""

CHECKED = DataTypes.ROW(
    [
        *(DataTypes.FIELD(name, DataTypes.STRING()) for name in ("user_id", "event_id")),
        *(DataTypes.FIELD(name, DataTypes.BIGINT()) for name in ("ts_ms", "append_ms")),
        DataTypes.FIELD("action", DataTypes.TINYINT()),
        *(DataTypes.FIELD(name, DataTypes.STRING()) for name in ("item_id", "category", "session_id")),
        DataTypes.FIELD("amount", DataTypes.DOUBLE()),
        *(DataTypes.FIELD(name, DataTypes.STRING()) for name in ("reason", "detail")),
    ]
)

Columns = dict[str, Sequence[Any]]  # by field of schemas/click.avsc
Items = Callable[[Columns], list[str | None]]


def acted_on(c: Columns) -> list[str | None]:
    """Returns the item of each event; None for a search."""
    return [None if action == "search" else item for action, item in zip(c["action"], c["item_id"], strict=True)]


def parameters(rules: Session) -> dict[str, Any]:
    """Returns the parameters of UserHistory. `recent` is the number of events in each state that it emits."""
    return rules.model_dump() | {"actions": " ".join(session.ACTIONS)}


def declare(
    table_env: StreamTableEnvironment, settings: Settings, job: str, bounded: bool, items: Items = acted_on
) -> None:
    """Declares the source, the functions and the views. items: what UserHistory keeps as the item of each event."""
    rules = settings.session
    checked = udf(CheckedClick(rules, items), result_type=CHECKED, func_type="pandas")
    table_env.create_temporary_system_function("checked", checked)
    table_env.execute_sql("CREATE TEMPORARY SYSTEM FUNCTION user_history AS 'headrace.UserHistory' LANGUAGE JAVA")
    table_env.execute_sql(flink_tables.raw_source(topics.CLICKS, settings.kafka, job, rules.future_ms, bounded))
    for name, sql in {"validated": VALIDATED, "good": GOOD, "history": HISTORY}.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql}")


def times(
    ts_ms: Sequence[int | None], append_ts: pd.Series, future_ms: int, faults: list[Fault | None]
) -> tuple[Milliseconds, Milliseconds]:
    """Returns (t, append_ms) of each record (docs/semantics.md), and adds a fault for each record from the future."""
    append_ms = append_ts.to_numpy("datetime64[ms]").astype(np.int64)
    return event_time.times(ts_ms, append_ms, future_ms, faults), append_ms


class CheckedClick(ScalarFunction):  # type: ignore[misc]
    """(value, append_ts) -> what UserHistory needs of the record, or reason and detail."""

    def __init__(self, rules: Session, items: Items) -> None:
        self.future_ms, self.items = rules.future_ms, items

    def open(self, context: FunctionContext) -> None:
        self.click = Contract.of("click")
        self.refused = context.get_metric_group().counter("refused")

    def eval(self, values: pd.Series, append_ts: pd.Series) -> pd.DataFrame:
        columns, faults = self.click.columns(values)
        c: Columns = dict(zip(self.click.fields, columns, strict=True))
        t, append_ms = times(c["ts_ms"], append_ts, self.future_ms, faults)
        self.refused.inc(len(faults) - faults.count(None))
        return pd.DataFrame(
            {
                "user_id": c["user_id"],
                "event_id": c["event_id"],
                "ts_ms": t,
                "append_ms": append_ms,
                "action": np.array([ACTION_CODES.get(action, 0) for action in c["action"]], np.int8),
                "item_id": self.items(c),
                "category": c["category"],
                "session_id": [session_id or None for session_id in c["session_id"]],
                "amount": list(map(session.amount, c["action"], c["price"], c["quantity"])),
                "reason": [fault and fault.reason for fault in faults],
                "detail": [fault and fault.detail for fault in faults],
            }
        )
