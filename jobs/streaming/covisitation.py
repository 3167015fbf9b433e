"""Clicks in Kafka -> counts of items viewed and bought together -> each item's lists, and the trending list -> Redis.

source     topic `clicks`, records of schemas/click.avsc
transform  jobs/streaming/clicks; in udfs/jvm: Baskets of a user, Totals of an item, Together of an item;
           headrace.udfs.covisitation.together_lists
sink       Redis strings headrace.schemas.redis_keys.also_viewed(item), bought_together(item) and trending()

A list is written once in `refresh_s` by what each slot holds. Its counts are exact, in whatever order the clicks came
(docs/collaborative.md). No list holds what the rules leave out, in their newest form too (obeyed_rules.py). This job
only counts what it refuses; session_features writes the dead letters.

Run: headrace submit covisitation      (or: flink run -py jobs/streaming/covisitation.py, see docs/cluster.md)
"""

import argparse
from typing import Any

import pandas as pd
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import udf

from headrace.infra.settings import Redis, Settings, load
from headrace.infra.versions import followed_rules
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.jobs.streaming import clicks, flink_tables, redis_tables
from headrace.jobs.streaming.flink_tables import Run
from headrace.jobs.streaming.obeyed_rules import ListingFunction
from headrace.schemas import redis_keys
from headrace.udfs.covisitation import counts, together_lists

JOB = "covisitation"
ACTS = "SELECT user_id, event_id, ts_ms, append_ms, action, item_id, append_ts FROM good"
# Changes of a user's baskets: (item, kind, bucket, sign, others, as_of_ms, rowtime).
BASKETS = """
    SELECT * FROM baskets(
      input => TABLE acts PARTITION BY user_id, on_time => DESCRIPTOR(append_ts), uid => 'baskets')"""
# (item, kind, change, rowtime).
TOTALS = """
    SELECT target AS item, kind, change, rowtime FROM totals(
      input => TABLE changed_baskets PARTITION BY (item, kind), on_time => DESCRIPTOR(rowtime), uid => 'totals')"""
# (item, kind, changes, rowtime), when each change makes a row of its own.
SINGLE = "SELECT item, kind, change AS changes, rowtime FROM changed_totals"
# (item, kind, scores, norm, as_of_ms): the others that rank first.
SCORES = """
    SELECT item, kind, scores, norm, as_of_ms
    FROM together(input => TABLE changes PARTITION BY (item, kind){on_time}, uid => 'together')"""
ON_TIME = ", on_time => DESCRIPTOR(rowtime)"
# A list for each of the newest of these.
LISTS = redis_tables.made("project(item, kind, scores, norm, as_of_ms)", "fresh")
FRESH_MS = 5  # those of one item so close to one another make one list; more of them while lists come slower


def main(settings: Settings, options: argparse.Namespace) -> None:
    run = Run(JOB, options.redis_only)
    table_env = flink_tables.environment(run.name, settings.flink, parameters(settings, run.restores))
    clicks.declare(table_env, settings, run)
    declare(table_env, settings, run)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO lists {LISTS}")
    if options.explain:
        print(*(table_env.from_path(before).explain() for before in ("changed_totals", "scores")), sep="\n")
    flink_tables.execute(table_env, statements, options.explain, apart="project")


def parameters(settings: Settings, at_end: bool) -> dict[str, Any]:
    """Returns the parameters of the Java functions."""
    actions = {"actions": clicks.ACTIONS, "viewed": counts.VIEWED, "touched": counts.TOUCHED}
    numbers = settings.covisitation.model_dump() | {"history": settings.session.history, "at_end": at_end}
    return numbers | {name: " ".join(some) for name, some in actions.items()}


def declare(table_env: StreamTableEnvironment, settings: Settings, run: Run) -> None:
    rules, top_n = settings.covisitation, settings.collaborative.top_n
    project = ProjectLists(settings.redis.sealed(), top_n, followed_rules.of(settings.night.rules))
    function = udf(project, result_type=f"ROW<{redis_tables.STRINGS}>", func_type="pandas")
    table_env.create_temporary_system_function("project", function)
    for name, java in {"baskets": "Baskets", "totals": "Totals", "together": "Together"}.items():
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name} AS 'headrace.{java}' LANGUAGE JAVA")
    views = {"acts": ACTS, "changed_baskets": BASKETS, "changed_totals": TOTALS}
    for name, sql in views.items():
        view(table_env, name, sql)
    operators = flink_tables.operators()
    if run.restores:
        view(table_env, "changes", SINGLE)
    else:
        operators.pairChanges(table_env._j_tenv, "changed_totals", "changes", 1000 * rules.refresh_s)
    view(table_env, "scores", SCORES.format(on_time=ON_TIME if run.restores else ""))
    operators.newest(table_env._j_tenv, "scores", "fresh", FRESH_MS, "item kind")
    table_env.execute_sql(redis_tables.sink("lists", redis_tables.STRINGS, "", settings.redis, run))


def view(table_env: StreamTableEnvironment, name: str, sql: str) -> None:
    """Declares a view of a table: Flink 2.3 cannot read the text of a view whose function another view reads."""
    table_env.create_temporary_view(name, table_env.sql_query(sql))


class ProjectLists(ListingFunction):
    """(item, kind, scores, norm, as_of_ms) -> key and list of each item's newest row; nothing for the other rows."""

    def __init__(self, redis: Redis, n: int, follower: RulesFollower) -> None:
        super().__init__(redis, follower, redis_keys.together(), took="project_ms")
        self.n = n

    def eval(
        self, items: pd.Series, kinds: pd.Series, scores: pd.Series, norms: pd.Series, as_of_ms: pd.Series
    ) -> pd.DataFrame:
        newest = ~pd.DataFrame({"item": items, "kind": kinds}).duplicated(keep="last")
        return self.of_newest(newest, self.lists, items, kinds, scores, norms, as_of_ms)

    def lists(
        self, items: pd.Series, kinds: pd.Series, scores: pd.Series, norms: pd.Series, as_of_ms: pd.Series
    ) -> pd.DataFrame:
        forbids = self.obeyed.rules().forbids
        each = zip(kinds, items, scores, norms.tolist(), as_of_ms.tolist(), strict=True)
        values = [together_lists.listed(*one, self.n, forbids) for one in each]
        return self.listed(list(map(key, kinds.tolist(), items)), values, as_of_ms, redis_keys.TOGETHER_TTL_MS)


def key(kind: int, item: str) -> str:
    if kind == together_lists.TOUCHED:
        return redis_keys.trending()
    return (redis_keys.also_viewed, redis_keys.bought_together)[kind](item)


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__, redis_only=True).parse_args())
