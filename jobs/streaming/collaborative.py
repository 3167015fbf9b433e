"""Clicks in Kafka -> each user's vector under the serving version -> the user's top items -> Redis.

source     topic `clicks`, records of schemas/click.avsc; the version that serves (infra/versions/store.py)
transform  jobs/streaming/clicks, then headrace.udfs.recommenders.live_lists: strengths, then the model's lists and
           reasons (docs/collaborative.md, docs/families.md)
sink       Redis string headrace.schemas.redis_keys.live(version, user_id), sorted set hidden(user_id)

This job only counts what it refuses; session_features writes the dead letters. A list is of one
version. A new version needs no restart; nor do new rules (obeyed_rules.py).

Run: headrace submit collaborative      (or: flink run -py jobs/streaming/collaborative.py, see docs/cluster.md)
"""

import argparse
import logging
from threading import Condition, Thread
from typing import NamedTuple

import pandas as pd
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import FunctionContext, udf

from headrace.infra import extensions
from headrace.infra.settings import Redis, Settings, load
from headrace.infra.versions import followed_rules
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Model, VersionFollower, pointer_stamp
from headrace.jobs.batch.families import roster
from headrace.jobs.streaming import clicks, flink_tables, redis_tables
from headrace.jobs.streaming.flink_tables import Run
from headrace.jobs.streaming.obeyed_rules import ListingFunction
from headrace.schemas import redis_keys
from headrace.udfs.recommenders import live_lists
from headrace.udfs.recommenders.live_lists import Serving

JOB = "collaborative"
# (user_id, recent, as_of_ms, member, score): a row per new state of a user and per item that is hidden from one; one
# view of both, so that the topic is read once.
LIVED = """
    SELECT user_id, recent, as_of_ms, CAST(NULL AS STRING) AS `member`, CAST(NULL AS BIGINT) AS score FROM states
    UNION ALL SELECT user_id, CAST(NULL AS BYTES), as_of_ms, `member`, score FROM hides"""
NEW = "SELECT user_id, recent, as_of_ms FROM lived WHERE `member` IS NULL"
HIDDEN = "SELECT user_id, `member`, score, as_of_ms FROM lived WHERE `member` IS NOT NULL"
# A list for each of the newest of these.
LIVE = redis_tables.made("recommend(user_id, recent, as_of_ms)", "fresh")
FRESH_MS = 5  # a user's states so close to one another make one list; more of them while lists come slower
# UserHistory keeps the item of an event together with its rating (udfs/recommenders/live_lists).
RATED = f"""
    CASE WHEN action = {clicks.RATE} THEN CONCAT(COALESCE(CAST(rating AS STRING), ''), ':', item_id)
         WHEN action <> {clicks.SEARCH} THEN CONCAT(':', item_id) END"""
UNRATED = "SUBSTRING(item_id FROM 2)"


def main(settings: Settings, options: argparse.Namespace) -> None:
    run, whole = Run(JOB, options.redis_only), settings.session.model_copy(update={"recent": settings.session.history})
    table_env = flink_tables.environment(run.name, settings.flink, clicks.parameters(whole, run))
    for module in extensions.modules():  # a version may be of a family of the shop's own
        table_env.add_python_file(str(module))
    clicks.declare(table_env, settings, run, RATED, UNRATED)
    declare(table_env, settings, run)
    statements = table_env.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO lists {LIVE}")
    statements.add_insert_sql(f"INSERT INTO hidden {HIDDEN}")
    if options.explain:
        print(table_env.explain_sql(LIVED))
    flink_tables.execute(table_env, statements, options.explain, apart="recommend")


def declare(table_env: StreamTableEnvironment, settings: Settings, run: Run) -> None:
    follower = followed_rules.of(settings.night.rules)
    recommend = Recommend(settings.redis.sealed(), settings.collaborative.top_n, follower)
    function = udf(recommend, result_type=f"ROW<{redis_tables.STRINGS}>", func_type="pandas")
    table_env.create_temporary_system_function("recommend", function)
    java, operators = table_env._j_tenv, flink_tables.operators()
    operators.shared(java, LIVED, "lived")
    table_env.create_temporary_view("new", table_env.sql_query(NEW))
    operators.newest(java, "new", "fresh", FRESH_MS, "user_id")
    table_env.execute_sql(redis_tables.sink("lists", redis_tables.STRINGS, "", settings.redis, run))
    table_env.execute_sql(clicks.hidden_sink(settings, run))


class Recommend(ListingFunction):
    """(user_id, recent, as_of_ms) -> the key and the list of each user's newest row; nothing for the other rows."""

    def __init__(self, redis: Redis, n: int, follower: RulesFollower) -> None:
        super().__init__(redis, follower, redis_keys.of_versions(), took="recommend_ms")
        self.n = n

    def open(self, context: FunctionContext) -> None:
        super().open(context)
        self.version = Version()
        self.without_model = context.get_metric_group().counter("without_model")

    def close(self) -> None:
        self.version.close()
        super().close()

    def eval(self, users: pd.Series, recents: pd.Series, as_of_ms: pd.Series) -> pd.DataFrame:
        return self.of_newest(~users.duplicated(keep="last"), self.lists, users, recents, as_of_ms)

    def lists(self, users: pd.Series, recents: pd.Series, as_of_ms: pd.Series) -> pd.DataFrame:
        serving = self.version.serving(self.obeyed.rules())
        if serving is None:
            self.without_model.inc(len(users))
            return pd.DataFrame(index=users.index)
        values = live_lists.lists(serving, recents.tolist(), as_of_ms.tolist(), self.n)
        keys = [redis_keys.live(serving.version, user) for user in users]
        return self.listed(keys, values, as_of_ms, redis_keys.LIVE_TTL_MS)


class Version:
    """The version that serves. A thread makes a new one ready, and lists wait for it for PATIENCE_S at most.

    So an event that comes after the pointer moved is answered by the new version, unless that takes longer to load;
    until then the one before it serves on.
    """

    LOOK_S, PATIENCE_S = 1.0, 1.0

    def __init__(self) -> None:
        self.follower, self.stopped, self.reported = VersionFollower(), False, ""
        self.loaded: Loaded | None = None
        self.shown: Serving | None = None  # the loaded version without what the rules leave out
        self.of: tuple[Loaded, ItemRules] | None = None  # from which it was made
        self.turn = Condition()  # of the next two
        self.asked = self.seen = pointer_stamp()
        self.look()
        Thread(target=self._follow, name="version", daemon=True).start()

    def serving(self, obeyed: ItemRules) -> Serving | None:
        """Returns None until a version is published. obeyed: the rules; what the version leaves out stays out, too."""
        if (stamp := pointer_stamp()) != self.asked:
            with self.turn:
                self.asked = stamp
                self.turn.notify_all()
                self.turn.wait_for(lambda: self.seen == stamp, self.PATIENCE_S)
        loaded = self.loaded
        if loaded and (self.of is None or loaded is not self.of[0] or obeyed is not self.of[1]):
            out = {*loaded.left_out, *obeyed.left_out(loaded.serving.items)}
            same = out == set(loaded.left_out)
            self.shown = loaded.serving if same else live_lists.leaving_out(loaded.serving, out)
            self.of = loaded, obeyed
        return self.shown

    def look(self) -> None:
        """Loads the version that serves now. Where it does not load, the one before it stays."""
        stamp = pointer_stamp()
        try:
            model = self.follower.model()
            if model and (self.loaded is None or self.loaded.serving.version != model.manifest.version):
                self.loaded = _loaded(model)
            self.reported = ""
        except Exception as error:  # whatever is in its files, lists go on
            if self.reported != (text := f"{type(error).__name__}: {error}"):
                logging.getLogger(__name__).error("the published version does not load: %s", text)
            self.reported = text
        with self.turn:
            self.seen = stamp
            self.turn.notify_all()

    def close(self) -> None:
        with self.turn:
            self.stopped = True
            self.turn.notify_all()

    def _follow(self) -> None:
        while not self.stopped:
            with self.turn:
                self.turn.wait_for(lambda: self.stopped or self.asked != self.seen, self.LOOK_S)
            self.look()


class Loaded(NamedTuple):
    serving: Serving
    left_out: tuple[str, ...]  # by the version


def _loaded(model: Model) -> Loaded:
    manifest, left_out = model.manifest, model.contents.left_out
    scorer = roster.live(model.folder)
    return Loaded(live_lists.serving(manifest.version, scorer, manifest.parameters, left_out), left_out)


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__, redis_only=True).parse_args())
