"""Clicks in Kafka -> features of each user's live session -> Redis, and each closed session -> Kafka.

source     topic `clicks`, records of schemas/click.avsc
transform  udfs.contract, then the user's counters, recent events and spans (udfs/jvm/UserHistory), then udfs.session
sink       Redis hash schemas.redis_keys.session(user_id); topics `sessions` and `dead_letters`

Run: headrace submit session_features      (or: flink run -py jobs/streaming/session_features.py, see docs/cluster.md)
"""

import argparse
from time import monotonic

import numpy as np
import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from infra.settings import Redis, Session, Settings, load
from jobs.streaming import flink
from jobs.streaming.redis_writer import RedisWriter
from schemas import redis_keys, topics
from schemas.types import ddl
from udfs import session
from udfs.contract import Contract, Fault
from udfs.resp import HashWriter

JOB = "session_features"
ACTION_CODES = {action: code for code, action in enumerate(session.ACTIONS)}

# All columns that any branch needs stand in one view, so that the planner shares one validation among the branches
# (tests/jobs/test_plan.py holds it to that).
VALIDATED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.user_id, c.event_id, c.ts_ms, c.append_ms, c.action, c.item_id, c.category, c.session_id, c.amount,
           c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, checked(`value`, append_ts) AS c FROM clicks)"""
GOOD = """
    SELECT user_id, event_id, ts_ms, append_ms, action, item_id, category, session_id, amount,
           `key`, `value`, `partition`, `offset`, append_ts
    FROM validated WHERE reason IS NULL"""
HISTORY = """
    SELECT * FROM user_history(
      input => TABLE good PARTITION BY user_id, on_time => DESCRIPTOR(append_ts), uid => 'user_history')"""
STATE = "SELECT user_id, counters, session_id, recent FROM history WHERE kind = 0"
LIVE = f"SELECT project(user_id, counters, session_id, recent) FROM ({STATE})"
CLOSED = "SELECT CAST(user_id AS BYTES), user_id, start_ms, end_ms, events, counts, items FROM history WHERE kind = 1"
DEAD = f"""
    SELECT {flink.dead_letter(topics.CLICKS, "append_ts", "reason")} FROM validated WHERE reason IS NOT NULL
    UNION ALL SELECT {flink.dead_letter(topics.CLICKS, "rowtime", "'late'")} FROM history WHERE kind = 2"""

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


def main(settings: Settings, options: argparse.Namespace) -> None:
    parameters = settings.session.model_dump() | {"actions": " ".join(session.ACTIONS)}
    table_env = flink.environment(JOB, settings.flink, parameters)
    declare(table_env, settings, bounded=options.redis_only)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO unread {STATE}" if options.blackhole else f"INSERT INTO done {LIVE}")
    if not options.redis_only:
        statements.add_insert_sql(f"INSERT INTO {topics.SESSIONS} {CLOSED}")
        statements.add_insert_sql(f"INSERT INTO {topics.DEAD_LETTERS} {DEAD}")
    if options.explain:
        print(statements.explain())
    else:
        flink.execute(table_env, statements, JOB, apart="project")


def declare(table_env: StreamTableEnvironment, settings: Settings, bounded: bool) -> None:
    """Tables, functions and views, by the names that the SQL above uses."""
    redis, rules = settings.redis.sealed(), settings.session
    functions = {
        "checked": udf(Checked(rules), result_type=CHECKED, func_type="pandas"),
        "project": udf(Project(redis, rules), result_type=DataTypes.INT(), func_type="pandas"),
    }
    table_env.execute_sql(flink.raw_source(topics.CLICKS, settings.kafka, JOB, rules.future_ms, bounded))
    table_env.execute_sql(flink.sink(topics.SESSIONS, f"`key` BYTES, {ddl('session')}", "json", settings.kafka, JOB))
    table_env.execute_sql(flink.dead_letter_sink(settings.kafka, JOB))
    for table in ("done (n INT)", "unread (user_id STRING, counters BYTES, session_id STRING, recent BYTES)"):
        table_env.execute_sql(f"CREATE TEMPORARY TABLE {table} WITH ('connector' = 'blackhole')")
    table_env.execute_sql("CREATE TEMPORARY SYSTEM FUNCTION user_history AS 'headrace.UserHistory' LANGUAGE JAVA")
    for name, function in functions.items():
        table_env.create_temporary_system_function(name, function)
    for name, sql in {"validated": VALIDATED, "good": GOOD, "history": HISTORY}.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql}")


class Checked(ScalarFunction):  # type: ignore[misc]
    """(value, append_ts) -> what UserHistory needs of the record, or reason and detail."""

    def __init__(self, rules: Session) -> None:
        self.future_ms = rules.future_ms

    def open(self, context: FunctionContext) -> None:
        self.click = Contract.of("click")
        self.refused = context.get_metric_group().counter("refused")

    def eval(self, values: pd.Series, append_ts: pd.Series) -> pd.DataFrame:
        columns, faults = self.click.columns(values)
        c = dict(zip(self.click.fields, columns, strict=True))
        append_ms = append_ts.to_numpy("datetime64[ms]").astype(np.int64)
        ts_ms = np.array([ts or 0 for ts in c["ts_ms"]], np.int64)
        for i in np.flatnonzero(ts_ms > append_ms + self.future_ms):
            limit = append_ms[i] + self.future_ms
            said = f"ts_ms: must be <= {limit}, the broker's clock plus {self.future_ms}, got {ts_ms[i]}"
            faults[i] = Fault("future", said)
        self.refused.inc(len(faults) - faults.count(None))
        return pd.DataFrame(
            {
                "user_id": c["user_id"],
                "event_id": c["event_id"],
                "ts_ms": np.minimum(ts_ms, append_ms),
                "append_ms": append_ms,
                "action": np.array([ACTION_CODES.get(action, 0) for action in c["action"]], np.int8),
                "item_id": [
                    None if action == "search" else item for action, item in zip(c["action"], c["item_id"], strict=True)
                ],
                "category": c["category"],
                "session_id": [session_id or None for session_id in c["session_id"]],
                "amount": list(map(session.amount, c["action"], c["price"], c["quantity"])),
                "reason": [fault and fault.reason for fault in faults],
                "detail": [fault and fault.detail for fault in faults],
            }
        )


class Project(ScalarFunction):  # type: ignore[misc]
    """(user_id, counters, session_id, recent) -> the user's hash in Redis; 1 per row, once Redis has answered."""

    def is_deterministic(self) -> bool:
        return False  # it writes: the planner may neither drop nor repeat it

    def __init__(self, redis: Redis, rules: Session) -> None:
        self.redis, self.zone = redis, rules.time_zone

    def open(self, context: FunctionContext) -> None:
        self.writer, self.hashes = RedisWriter(self.redis), HashWriter(session.FIELDS)
        self.write_ms = context.get_metric_group().distribution("redis_write_ms")

    def eval(self, users: pd.Series, counters: pd.Series, session_ids: pd.Series, recents: pd.Series) -> pd.Series:
        newest = (~users.duplicated(keep="last")).to_numpy()
        latest = [column[newest].tolist() for column in (counters, session_ids, recents)]
        columns = session.features(latest[0], latest[1], latest[2], self.zone)
        expire_at_ms = [ms + redis_keys.SESSION_TTL_MS for ms in columns[session.FIELDS.index("as_of_ms")]]
        began_s = monotonic()
        commands = self.hashes.commands(map(redis_keys.session, users[newest]), columns, expire_at_ms)
        self.writer.write(commands, HashWriter.REPLIES)
        self.write_ms.update(int(1000 * (monotonic() - began_s)))
        return pd.Series(1, index=users.index, dtype=np.int32)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--redis-only", action="store_true", help="write Redis alone, from the whole topic as it is now, then end"
    )
    parser.add_argument("--blackhole", action="store_true", help="write nothing to Redis: what the JVM does alone")
    parser.add_argument("--explain", action="store_true", help="print the plan and start nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main(load(), arguments())
