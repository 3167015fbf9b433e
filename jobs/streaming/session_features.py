"""Clicks in Kafka -> features of each user's live session -> Redis, and each closed session -> Kafka.

source     topic `clicks`, records of schemas/click.avsc
transform  jobs/streaming/clicks: valid records, each user's counters, recent events and spans; then
           headrace.udfs.session
sink       Redis hash headrace.schemas.redis_keys.session(user_id), sorted set hidden(user_id); topics `sessions` and
           `dead_letters`

Run: headrace submit session_features      (or: flink run -py jobs/streaming/session_features.py, see docs/cluster.md)
"""

import argparse
from time import monotonic

import numpy as np
import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, udf

from headrace.infra.settings import Redis, Session, Settings, load
from headrace.jobs.streaming import clicks, flink_tables, hidden_items
from headrace.jobs.streaming.redis_function import WritingFunction
from headrace.schemas import redis_keys, topics
from headrace.schemas.types import ddl
from headrace.udfs import history, session
from headrace.udfs.resp import HashWriter

JOB = "session_features"
# A row per new state of a user: (user_id, counters, session_id, recent).
STATE = "SELECT user_id, counters, session_id, recent FROM history WHERE kind = 0"
LIVE = f"SELECT project(user_id, counters, session_id, recent) FROM ({STATE})"
CLOSED = "SELECT CAST(user_id AS BYTES), user_id, start_ms, end_ms, events, counts, items FROM history WHERE kind = 1"
DEAD = f"""
    SELECT {flink_tables.dead_letter(topics.CLICKS, "append_ts", "reason")} FROM validated WHERE reason IS NOT NULL
    UNION ALL SELECT {flink_tables.dead_letter(topics.CLICKS, "rowtime", "'late'")} FROM history WHERE kind = 2"""


def main(settings: Settings, options: argparse.Namespace) -> None:
    # Validation and projection run at the same time: a fifth more clicks/s.
    table_env = flink_tables.environment(
        JOB, settings.flink, clicks.parameters(settings.session), worker_per_operator=True
    )
    clicks.declare(table_env, settings, JOB, bounded=options.redis_only)
    declare(table_env, settings)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO unread {STATE}" if options.blackhole else f"INSERT INTO done {LIVE}")
    if not options.redis_only:
        statements.add_insert_sql(f"INSERT INTO {topics.SESSIONS} {CLOSED}")
        statements.add_insert_sql(f"INSERT INTO {topics.DEAD_LETTERS} {DEAD}")
    flink_tables.execute(table_env, statements, JOB, apart="project", explain=options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings) -> None:
    """Declares the function and the tables of the sinks by the names that the SQL above uses."""
    project = udf(
        ProjectSessions(settings.redis.sealed(), settings.session), result_type=DataTypes.INT(), func_type="pandas"
    )
    table_env.create_temporary_system_function("project", project)
    table_env.execute_sql(
        flink_tables.sink(topics.SESSIONS, f"`key` BYTES, {ddl('session')}", "json", settings.kafka, JOB)
    )
    table_env.execute_sql(flink_tables.dead_letter_sink(settings.kafka, JOB))
    for table in ("done (n INT)", "unread (user_id STRING, counters BYTES, session_id STRING, recent BYTES)"):
        table_env.execute_sql(f"CREATE TEMPORARY TABLE {table} WITH ('connector' = 'blackhole')")


class ProjectSessions(WritingFunction):
    """(user_id, counters, session_id, recent) -> the user's keys in Redis; 1 per row, once Redis has answered."""

    def __init__(self, redis: Redis, rules: Session) -> None:
        super().__init__(redis)
        self.zone, self.recent, self.bought_hidden_ms = rules.time_zone, rules.recent, rules.bought_hidden_ms

    def open(self, context: FunctionContext) -> None:
        super().open(context)
        self.hashes = HashWriter(session.FIELDS)
        self.write_ms = context.get_metric_group().distribution("redis_write_ms")

    def eval(self, users: pd.Series, counters: pd.Series, session_ids: pd.Series, recents: pd.Series) -> pd.Series:
        newest, older = hidden_items.rows(users, self.recent)
        latest = [column[newest].tolist() for column in (counters, session_ids, recents)]
        decoded = list(map(history.decode, latest[2]))
        columns = session.features(latest[0], latest[1], decoded, self.zone)
        expire_at_ms = [ms + redis_keys.SESSION_TTL_MS for ms in columns[session.FIELDS.index("as_of_ms")]]
        began_s = monotonic()
        decoded += map(history.decode, recents[older])
        hidden_items.write(self.writer, [*users[newest], *users[older]], decoded, self.bought_hidden_ms)
        commands = self.hashes.commands(map(redis_keys.session, users[newest]), columns, expire_at_ms)
        self.writer.write(commands, HashWriter.REPLIES)
        self.write_ms.update(int(1000 * (monotonic() - began_s)))
        return pd.Series(1, index=users.index, dtype=np.int32)


def arguments() -> argparse.Namespace:
    parser = flink_tables.arguments(__doc__, redis_only=True)
    parser.add_argument("--blackhole", action="store_true", help="write nothing to Redis: measures the JVM alone")
    return parser.parse_args()


if __name__ == "__main__":
    main(load(), arguments())
