"""Clicks in Kafka -> features of each user's live session -> Redis, and each closed session -> Kafka.

source     topic `clicks`, records of schemas/click.avsc
transform  jobs/streaming/clicks: valid records, each user's counters, recent events and spans; then SessionJson
sink       Redis string headrace.schemas.redis_keys.session(user_id), sorted set hidden(user_id); topics `sessions` and
           `dead_letters`

Everything runs in the JVM: the job is SQL over the functions of udfs/jvm.

Run: headrace submit session_features      (or: flink run -py jobs/streaming/session_features.py, see docs/cluster.md)
"""

import argparse

from pyflink.table import StreamTableEnvironment

from headrace.infra.settings import Settings, load
from headrace.jobs.streaming import clicks, flink_tables, redis_tables
from headrace.jobs.streaming.flink_tables import Run
from headrace.schemas import redis_keys, topics
from headrace.schemas.types import ddl

JOB = "session_features"
# A row per new state of a user, of redis_tables.STRINGS.
LIVE = f"""
    SELECT user_id, session_json(counters, session_id, recent), as_of_ms + {redis_keys.SESSION_TTL_MS}, as_of_ms
    FROM states"""
CLOSED = """
    SELECT CAST(user_id AS BYTES), user_id, start_ms, end_ms, events, counts, items, distinct_items, truncated
    FROM history WHERE kind = 1"""
SET_ASIDE = "CASE kind WHEN 2 THEN 'late' ELSE 'internal' END"
DEAD = f"""
    SELECT {flink_tables.dead_letter(topics.CLICKS, "append_ts", "reason")} FROM validated WHERE reason IS NOT NULL
    UNION ALL
    SELECT {flink_tables.dead_letter(topics.CLICKS, "rowtime", SET_ASIDE)} FROM history WHERE kind IN (2, 3)"""


def main(settings: Settings, options: argparse.Namespace) -> None:
    run = Run(JOB, options.redis_only)
    table_env = flink_tables.environment(run.name, settings.flink, clicks.parameters(settings.session, run))
    clicks.declare(table_env, settings, run)
    declare(table_env, settings, run)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO {'unread' if options.blackhole else 'live'} {LIVE}")
    if not options.blackhole:
        statements.add_insert_sql(f"INSERT INTO hidden {clicks.HIDDEN}")
    if not run.restores:
        statements.add_insert_sql(f"INSERT INTO {topics.SESSIONS} {CLOSED}")
        statements.add_insert_sql(f"INSERT INTO {topics.DEAD_LETTERS} {DEAD}")
    flink_tables.execute(table_env, statements, options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings, run: Run) -> None:
    """Declares the function and the tables of the sinks by the names that the SQL above uses."""
    flink_tables.functions(table_env, {"session_json": "SessionJson"})
    closed = f"`key` BYTES, {ddl('session')}"
    table_env.execute_sql(flink_tables.sink(topics.SESSIONS, closed, "json", settings.kafka, JOB))
    table_env.execute_sql(flink_tables.dead_letter_sink(settings.kafka, JOB))
    table_env.execute_sql(redis_tables.sink("live", redis_tables.STRINGS, redis_keys.session(""), settings.redis, run))
    table_env.execute_sql(clicks.hidden_sink(settings, run))
    table_env.execute_sql(f"CREATE TEMPORARY TABLE unread ({redis_tables.STRINGS}) WITH ('connector' = 'blackhole')")


def arguments() -> argparse.Namespace:
    parser = flink_tables.arguments(__doc__, redis_only=True)
    parser.add_argument("--blackhole", action="store_true", help="write nothing to Redis: measures the rest of the job")
    return parser.parse_args()


if __name__ == "__main__":
    main(load(), arguments())
