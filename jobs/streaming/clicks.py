"""What the jobs that read `clicks` share: the checked records, and each user's history.

It declares five views. `validated` has every record, with its columns or the reason why it is refused. `good` has the
records that are not refused. `history` has the rows of udfs/jvm/UserHistory, by kind: 0 is a user's new state, 1 is a
closed span, 2 is an event that came too late, 3 is one that could not be handled. `shown` has its new states, and so
has `states`, but in a run that restores: there it has the last state of every user, from the job's savepoint, and
`history` reads the topic again.
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
      input => TABLE {good} PARTITION BY user_id, on_time => DESCRIPTOR(append_ts), uid => '{uid}')"""
# What users are not shown (docs/semantics.md, "What is hidden"). Every job that makes a user's features or lists writes
# it, so readers have it whichever job runs; the same events give the same members. {shown}: as the view `shown`.
HIDDEN = """
    SELECT user_id, h.`member`, h.score, as_of_ms
    FROM {shown}, LATERAL TABLE(hiding(recent)) AS h(`member`, score)"""
# A row per new state of a user.
STATES = """
    SELECT user_id, counters, session_id, recent, as_of_ms(counters) AS as_of_ms FROM {history} WHERE kind = 0"""


def parameters(rules: Session, run: Run) -> dict[str, Any]:
    """Returns the parameters of the Java functions. `recent` is the number of events in each state that they emit."""
    of_run = {"actions": " ".join(ACTIONS), "forever_ms": redis_keys.FOREVER_MS, "restoring": run.restores}
    return rules.model_dump() | of_run


def declare(table_env: StreamTableEnvironment, settings: Settings, run: Run, item: str = ACTED_ON) -> None:
    """Declares the sources, the functions and the views. item: SQL of what UserHistory keeps as an event's item."""
    flink_tables.functions(table_env, {"user_history": "UserHistory", "hiding": "Hiding", "as_of_ms": "AsOfMs"})
    if not run.restores:
        _declare_history(table_env, settings, run, item, uid="user_history")
        _declare_states(table_env, {"shown": "history", "states": "history"})
        return
    # Tables of other names: that of the running job would go on from the savepoint's offsets, and never end.
    _declare_history(table_env, settings, run, item, uid="replayed", table=f"{topics.CLICKS}_again")
    since = f"{topics.CLICKS}_since"
    _declare_history(
        table_env, settings, run, item, uid="user_history", table=since, suffix="_since", start="latest-offset"
    )
    _declare_states(table_env, {"shown": "history", "states": "history_since"})


def _declare_states(table_env: StreamTableEnvironment, histories: dict[str, str]) -> None:
    for name, history in histories.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {STATES.format(history=history)}")


def _declare_history(
    table_env: StreamTableEnvironment,
    settings: Settings,
    run: Run,
    item: str,
    uid: str,
    table: str = topics.CLICKS,
    suffix: str = "",
    start: str = "earliest-offset",
) -> None:
    future_ms = settings.session.future_ms
    source = flink_tables.contract_source(
        topics.CLICKS, "click", FIELDS, settings.kafka, run.name, future_ms, table, start, bounded=run.restores
    )
    table_env.execute_sql(source)
    names = {"source": table, "validated": f"validated{suffix}", "good": f"good{suffix}", "uid": uid}
    rules = {"item": item, "amount": AMOUNT} | flink_tables.ahead(future_ms)
    for name, sql in {"validated": VALIDATED, "good": GOOD, "history": HISTORY}.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name}{suffix} AS {sql.format(**names, **rules)}")


def hidden_sink(settings: Settings, run: Run) -> str:
    """Returns the DDL of the table `hidden`, into which HIDDEN goes."""
    columns = "`key` STRING, `member` STRING, score BIGINT, as_of_ms BIGINT"
    options: dict[str, str | int] = {"command": "ZADD", "max_members": redis_keys.HIDDEN_MAX}
    return redis_tables.sink("hidden", columns, redis_keys.hidden(""), settings.redis, run, **options)
