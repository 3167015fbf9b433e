"""Clicks in Kafka -> each user's vector under the serving version -> the user's top items -> Redis.

source     topic `clicks`, records of schemas/click.avsc; the version that serves (infra/versions/store.py)
transform  jobs/streaming/clicks, then headrace.udfs.factors.live_lists: strengths, fold-in, top N with a reason
           (docs/collaborative.md)
sink       Redis string headrace.schemas.redis_keys.live(version, user_id), sorted set hidden(user_id)

This job only counts what it refuses; session_features writes the dead letters. It looks up the version once per batch,
so a list is of one version, and a new version needs no restart; nor do new rules (obeyed_rules.py).

Run: headrace submit collaborative      (or: flink run -py jobs/streaming/collaborative.py, see docs/cluster.md)
"""

import argparse
import logging
from time import monotonic

import numpy as np
import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import FunctionContext, udf

from headrace.infra.settings import Redis, Session, Settings, load
from headrace.infra.versions import followed_rules
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Model, ModelError, VersionFollower
from headrace.jobs.streaming import clicks, flink_tables, hidden_items
from headrace.jobs.streaming.obeyed_rules import ListingFunction
from headrace.schemas import redis_keys
from headrace.udfs.factors import live_lists
from headrace.udfs.factors.live_lists import Serving
from headrace.udfs.resp import strings

JOB = "collaborative"
# One row per row of `history`, once Redis has answered: (1,).
LIVE = "SELECT recommend(user_id, recent, rowtime) FROM history WHERE kind = 0"


def main(settings: Settings, options: argparse.Namespace) -> None:
    whole = settings.session.model_copy(update={"recent": settings.session.history})
    table_env = flink_tables.environment(JOB, settings.flink, clicks.parameters(whole))
    clicks.declare(table_env, settings, JOB, bounded=options.redis_only, items=rated)
    declare(table_env, settings)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO done {LIVE}")
    flink_tables.execute(table_env, statements, JOB, apart="recommend", explain=options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings) -> None:
    follower = followed_rules.of(settings.night.rules)
    recommend = Recommend(settings.redis.sealed(), settings.collaborative.top_n, settings.session, follower)
    function = udf(recommend, result_type=DataTypes.INT(), func_type="pandas")
    table_env.create_temporary_system_function("recommend", function)
    table_env.execute_sql("CREATE TEMPORARY TABLE done (n INT) WITH ('connector' = 'blackhole')")


def rated(c: clicks.Columns) -> list[str | None]:
    """Returns the item of each event together with its rating (udfs/factors/live_lists); None for a search."""
    ratings = [rating if action == "rate" else None for action, rating in zip(c["action"], c["rating"], strict=True)]
    return [item and live_lists.named(item, rating) for item, rating in zip(clicks.acted_on(c), ratings, strict=True)]


class Recommend(ListingFunction):
    """(user_id, recent, rowtime) -> the user's keys in Redis; 1 per row, once Redis has answered."""

    def __init__(self, redis: Redis, n: int, rules: Session, follower: RulesFollower) -> None:
        super().__init__(redis, follower, redis_keys.of_versions())
        self.n, self.history, self.bought_hidden_ms = n, rules.history, rules.bought_hidden_ms

    def open(self, context: FunctionContext) -> None:
        super().open(context)
        self.version = Version()
        metrics = context.get_metric_group()
        self.written, self.without_model = metrics.counter("lists"), metrics.counter("without_model")
        self.took_ms = metrics.distribution("recommend_ms")

    def eval(self, users: pd.Series, recents: pd.Series, append_ts: pd.Series) -> pd.Series:
        newest, older = hidden_items.rows(users, self.history)
        began_s = monotonic()
        every = newest | older
        acted = map(live_lists.unrated, recents[every])
        hidden_items.write(self.writer, users[every], acted, self.bought_hidden_ms)
        with self.obeyed.held() as obeyed:
            if serving := self.version.serving(obeyed):
                as_of_ms = append_ts[newest].to_numpy("datetime64[ms]").astype(np.int64).tolist()
                self.write(serving, users[newest].tolist(), recents[newest].tolist(), as_of_ms)
            else:
                self.without_model.inc(int(newest.sum()))
        self.took_ms.update(int(1000 * (monotonic() - began_s)))
        return pd.Series(1, index=users.index, dtype=np.int32)

    def write(self, serving: Serving, users: list[str], recents: list[bytes], as_of_ms: list[int]) -> None:
        lists = live_lists.lists(serving, recents, as_of_ms, self.n)
        keys = (redis_keys.live(serving.version, user) for user in users)
        self.writer.write(strings(keys, lists, (ms + redis_keys.LIVE_TTL_MS for ms in as_of_ms)), replies=1)
        self.written.inc(len(lists))


class Version:
    """The version that serves, made ready for folding users in once per version."""

    RETRY_S = 10.0

    def __init__(self) -> None:
        self.follower, self.ask_at_s = VersionFollower(), 0.0
        self.ready: Serving | None = None
        self.left_out: tuple[str, ...] = ()  # by the version
        self.obeyed = ItemRules()

    def serving(self, obeyed: ItemRules) -> Serving | None:
        """Returns None until a version is published. When a version does not load, the one before it stays.

        obeyed: the rules; what the version itself leaves out stays out, too.
        """
        if monotonic() >= self.ask_at_s:
            try:
                self.make_ready(self.follower.model())
            except (ModelError, OSError) as error:
                logging.getLogger(__name__).error("the published version does not load: %s", error)
                self.ask_at_s = monotonic() + self.RETRY_S
        if self.ready and obeyed is not self.obeyed:
            self.ready = live_lists.leaving_out(self.ready, {*self.left_out, *obeyed.left_out(self.ready.items)})
            self.obeyed = obeyed
        return self.ready

    def make_ready(self, model: Model | None) -> None:
        if model and (self.ready is None or self.ready.version != model.manifest.version):
            contents, manifest = model.contents, model.manifest
            self.ready = live_lists.serving(
                manifest.version, contents.items, contents.item_factors, manifest.parameters, contents.left_out
            )
            self.left_out, self.obeyed = contents.left_out, ItemRules()


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__, redis_only=True).parse_args())
