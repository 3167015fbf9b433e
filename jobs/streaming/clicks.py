"""What the jobs that read `clicks` share: the checked records, and each user's history.

It declares five views. `validated` has every record, with its columns or the reason why it is refused. `good` has the
records that are not refused. `hides` has what they hide. `history` has the rows of udfs/jvm/UserHistory, by kind: 0 is
a user's new state, 1 is a closed span, 2 is an event that came too late, 3 is one that could not be handled. `states`
has the new states. In a run that restores they are the last state of every user, from the job's savepoint, and only
`hides` reads the topic again.
"""

from typing import Any

from pyflink.table import StreamTableEnvironment

from headrace.infra.settings import Session, Settings
from headrace.jobs.streaming import flink_tables, redis_tables
from headrace.jobs.streaming.flink_tables import Run
from headrace.schemas import enum, redis_keys, topics

ACTIONS = enum("click", "action")
FIELDS = """
    event_id STRING, user_id STRING, item_id STRING, action TINYINT, ts_ms BIGINT, session_id STRING, category STRING,
    price DOUBLE, quantity BIGINT, rating DOUBLE"""
SEARCH, PURCHASE, REFUND, RATE = (ACTIONS.index(action) for action in ("search", "purchase", "refund", "rate"))
DISLIKE, BLOCK = ACTIONS.index("dislike"), ACTIONS.index("block")

# What UserHistory keeps as the item of an event.
ACTED_ON = f"CASE WHEN action <> {SEARCH} THEN item_id END"
AMOUNT = f"""
    CASE action WHEN {PURCHASE} THEN COALESCE(price, 0e0) * COALESCE(quantity, 1)
                WHEN {REFUND} THEN -1e0 * COALESCE(price, 0e0) * COALESCE(quantity, 1) ELSE 0e0 END"""
# One view has all columns that any branch needs, so that the planner shares one scan among the branches
# (tests/jobs/streaming/test_plan.py checks it).
VALIDATED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts, user_id, event_id, LEAST(ts_ms, append_ms) AS ts_ms,
           append_ms, action, {item} AS item_id, category, NULLIF(session_id, '') AS session_id, {amount} AS amount,
           CASE WHEN {ahead} THEN 'future' ELSE reason END AS reason,
           CASE WHEN {ahead} THEN {ahead_detail} ELSE detail END AS detail
    FROM (SELECT *, epoch_ms(append_ts) AS append_ms FROM {source})"""
# (user_id, event_id, ts_ms, append_ms, ...): the valid clicks.
GOOD = """
    SELECT user_id, event_id, ts_ms, append_ms, action, item_id, category, session_id, amount,
           `key`, `value`, `partition`, `offset`, append_ts
    FROM {validated} WHERE reason IS NULL"""
# (user_id, kind, ...): a row for each new state, closed span and late event of a user.
HISTORY = """
    SELECT * FROM user_history(
      input => TABLE good PARTITION BY user_id, on_time => DESCRIPTOR(append_ts), uid => 'user_history')"""
# What users are not shown (docs/semantics.md, "What is hidden"). Every job that makes a user's features or lists writes
# it, so readers have it whichever job runs. An event needs no other one to hide its item, nor its user's state.
HIDES = f"""
    SELECT user_id, {{member}} AS `member`,
           ts_ms + CASE action WHEN {PURCHASE} THEN {{bought_ms}} ELSE {redis_keys.FOREVER_MS} END AS score,
           append_ms AS as_of_ms
    FROM {{good}} WHERE action IN ({PURCHASE}, {DISLIKE}, {BLOCK})"""
HIDDEN = "SELECT * FROM hides"
# A row per new state of a user.
STATES = """
    SELECT user_id, counters, session_id, recent, as_of_ms(counters) AS as_of_ms FROM history WHERE kind = 0"""


def parameters(rules: Session, run: Run) -> dict[str, Any]:
    """Returns the parameters of the Java functions. `recent` is the number of events in each state that they emit."""
    return rules.model_dump() | {"actions": " ".join(ACTIONS), "restoring": run.restores}


def declare(
    table_env: StreamTableEnvironment, settings: Settings, run: Run, item: str = ACTED_ON, member: str = "item_id"
) -> None:
    """Declares the sources, the functions and the views.

    item: SQL of what UserHistory keeps as an event's item; member: SQL of the item that this names.
    """
    flink_tables.functions(table_env, {"user_history": "UserHistory", "as_of_ms": "AsOfMs"})
    again = "_again" if run.restores else ""
    if run.restores:
        # Tables of other names: that of the running job would go on from the savepoint's offsets, and never end.
        _declare_good(table_env, settings, run, item, table=f"{topics.CLICKS}_since", start="latest-offset")
    _declare_good(table_env, settings, run, item, table=f"{topics.CLICKS}{again}", suffix=again)
    hides = HIDES.format(member=member, bought_ms=settings.session.bought_hidden_ms, good=f"good{again}")
    for name, sql in {"history": HISTORY, "states": STATES, "hides": hides}.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql}")


def _declare_good(
    table_env: StreamTableEnvironment,
    settings: Settings,
    run: Run,
    item: str,
    table: str,
    suffix: str = "",
    start: str = "earliest-offset",
) -> None:
    future_ms = settings.session.future_ms
    source = flink_tables.contract_source(
        topics.CLICKS, "click", FIELDS, settings.kafka, run.name, future_ms, table, start, bounded=run.restores
    )
    table_env.execute_sql(source)
    validated = VALIDATED.format(source=table, item=item, amount=AMOUNT, **flink_tables.ahead(future_ms))
    for name, sql in {"validated": validated, "good": GOOD.format(validated=f"validated{suffix}")}.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name}{suffix} AS {sql}")


def hidden_sink(settings: Settings, run: Run) -> str:
    """Returns the DDL of the table `hidden`, into which HIDDEN goes."""
    columns = "`key` STRING, `member` STRING, score BIGINT, as_of_ms BIGINT"
    options: dict[str, str | int] = {"command": "ZADD", "max_members": redis_keys.HIDDEN_MAX}
    return redis_tables.sink("hidden", columns, redis_keys.hidden(""), settings.redis, run, **options)
