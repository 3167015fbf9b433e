"""Impressions and clicks in Kafka -> the reward of each impression -> each arm's sums and posterior -> Redis, Kafka.

source     topics `impressions` and `clicks`, by their contracts; `statistics`, once, when the job begins without state
transform  udfs/jvm: Slates (rewards, docs/bandit.md), PartialSums and ArmSums (sums per arm), Newest (by the clock);
           headrace.udfs.bandit.arms (posteriors)
sink       Redis hash headrace.schemas.redis_keys.bandit(policy, version); topics `rewards`, `statistics`,
           `dead_letters`

Nothing here waits for a watermark, and no result depends on the order in which the two topics arrive: an impression and
its feedback are joined as soon as both are there, and the reward is a function of a set. session_features reads the
same topic and sends a bad click to the dead letters; this job only counts it, so that a bad record is one dead letter.

Run: headrace submit bandit      (or: flink run -py jobs/streaming/bandit.py, see docs/cluster.md)
"""

import argparse
from typing import Any

import pandas as pd
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from headrace.infra import extensions
from headrace.infra.settings import Settings, load
from headrace.jobs.streaming import flink_tables, redis_tables
from headrace.jobs.streaming.isolation import isolated, rows
from headrace.schemas import redis_keys, topics
from headrace.schemas.types import ddl
from headrace.udfs.bandit import arms, sums_version
from headrace.udfs.bandit.context import Encoder
from headrace.udfs.bandit.reward import ACTIONS

JOB = "bandit"
SOURCE_UIDS = {  # see flink_tables.SOURCE_UIDS
    topics.IMPRESSIONS: "src: impressions0000000007124628u0fKHvFTC.^KvxRD",
    topics.CLICKS: "source of clicks0000000000460651vJ<Nzk;e@56l$VF%",
}
PARTIAL_MS = 50  # for so long a subtask adds up its changes of an arm
FRESH_MS = 100  # at most so often an arm's posterior is solved
KEPT = "statistics_so_far"  # the topic `statistics` as a source

IMPRESSION = """
    user_id STRING, impression_id STRING, item_id STRING, surface STRING, `position` BIGINT, policy STRING,
    model_version STRING, context BYTES, propensity DOUBLE, ts_ms BIGINT, encoder_version STRING"""
CLICK = """
    user_id STRING, impression_id STRING, item_id STRING, action TINYINT, session_position BIGINT, ts_ms BIGINT"""
KNOWN = "policy STRING, arm STRING, packed STRING, as_of_ms BIGINT, version STRING, `period` BIGINT"

# Each record of `impressions`: its columns, or a reason and a detail.
SHOWN = """
    SELECT `key`, `value`, `partition`, `offset`, append_ms, user_id, impression_id, item_id, surface, `position`,
           policy, model_version, context, propensity, encoder_version, LEAST(ts_ms, append_ms) AS t,
           CASE WHEN reason IS NOT NULL THEN reason WHEN {ahead} THEN 'future'
                WHEN encoder_fault(encoder_version, context) IS NOT NULL THEN 'encoder' END AS reason,
           CASE WHEN reason IS NOT NULL THEN detail WHEN {ahead} THEN {ahead_detail}
                ELSE encoder_fault(encoder_version, context) END AS detail
    FROM (SELECT *, epoch_ms(append_ts) AS append_ms FROM impressions)"""
# The clicks that are valid: (user_id, impression_id, item_id, t, append_ms, action, first, partition, offset).
ACTED = """
    SELECT user_id, impression_id, item_id, LEAST(ts_ms, append_ms) AS t, append_ms, action,
           COALESCE(session_position, -1) = 0 AS `first`, `partition`, `offset`
    FROM (SELECT *, epoch_ms(append_ts) AS append_ms FROM clicks)
    WHERE accepted(CASE WHEN reason IS NULL AND {ahead} THEN 'future' ELSE reason END, 'refused_clicks')"""
# Impressions, and the clicks that name one.
EVENTS = f"""
    SELECT user_id, impression_id, item_id, '{topics.IMPRESSIONS}' AS topic, `partition`, `offset`, t, append_ms,
           surface, COALESCE(`position`, 0) AS `position`, policy, model_version, context, propensity, encoder_version,
           CAST(NULL AS TINYINT) AS action, CAST(NULL AS BOOLEAN) AS `first`
    FROM shown WHERE accepted(reason, 'refused_impressions')
    UNION ALL
    SELECT user_id, impression_id, item_id, '{topics.CLICKS}', `partition`, `offset`, t, append_ms,
           CAST(NULL AS STRING), CAST(NULL AS BIGINT), CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS BYTES),
           CAST(NULL AS DOUBLE), CAST(NULL AS STRING), action, `first`
    FROM acted WHERE impression_id <> ''"""
# A row for each change of a reward: the impression, whether it enters, its reward before and now. Its state's meaning
# depends on the rule of rewards, so a savepoint of another rule has none for it.
CHANGES = """
    SELECT * FROM slates(input => TABLE events PARTITION BY (user_id, impression_id), uid => 'slates_{version}')"""
TERMS = """
    SELECT policy, item_id, {period} AS `period`, x, enters, reward_before, reward, as_of_ms
    FROM changes WHERE fault IS NULL"""
# What is added to an arm: sums of changes; or all that the topic `statistics` has of it, as text.
ADDED = """
    SELECT policy, item_id, `period`, as_of_ms, sums, CAST(NULL AS STRING) AS packed FROM partials
    UNION ALL
    SELECT policy, arm, COALESCE(`period`, 0), as_of_ms, CAST(NULL AS BYTES), packed
    FROM {kept} WHERE reason IS NULL AND COALESCE(version, '{default}') = '{version}'"""
# A row for each arm that changed: (policy, item_id, n, sums, as_of_ms, period).
SUMS = """
    SELECT policy, item_id, n, sums, as_of_ms, `period`
    FROM arm_sums(input => TABLE added PARTITION BY (policy, item_id), uid => 'arm_sums_{state}')"""
# An arm that could not be solved keeps the posterior that it has: NULL would delete it.
POSTERIORS = """
    SELECT policy || ':{version}', item_id, packed, as_of_ms
    FROM (SELECT policy, item_id, posterior(sums) AS packed, as_of_ms FROM fresh) WHERE packed IS NOT NULL"""
STATISTICS = """
    SELECT policy, item_id, n, in_base64(sums), as_of_ms, '{version}', `period` FROM kept"""
REWARDS = """
    SELECT user_id, impression_id, item_id, surface, `position`, policy, model_version, doubles(x), propensity, t,
           encoder_version, reward, as_of_ms
    FROM changes WHERE fault IS NULL"""
APPEND_TS = "TO_TIMESTAMP_LTZ(append_ms, 3)"


def _set_aside(topic: str) -> str:
    """The dead letters of records that Slates could not work on."""
    return f"""
    SELECT {flink_tables.dead_letter(topic, APPEND_TS, "'internal'")}
    FROM (SELECT CAST(user_id AS BYTES) AS `key`, CAST(NULL AS BYTES) AS `value`, `partition`, `offset`, append_ms,
                 fault AS detail FROM changes WHERE topic = '{topic}')"""


DEAD = f"""
    SELECT {flink_tables.dead_letter(topics.IMPRESSIONS, APPEND_TS, "reason")} FROM shown WHERE reason IS NOT NULL
    UNION ALL {_set_aside(topics.IMPRESSIONS)}
    UNION ALL {_set_aside(topics.CLICKS)}"""

FUNCTIONS = {"slates": "Slates", "arm_sums": "ArmSums", "doubles": "Doubles", "in_base64": "InBase64"}
FUNCTIONS |= {"accepted": "Accepted", "encoder_fault": "EncoderFault"}


def main(settings: Settings, options: argparse.Namespace) -> None:
    rules = settings.bandit
    encoder = extensions.resolve_kind("bandit.encoder", rules.encoder, Encoder)
    version = sums_version.of_rules(encoder, rules)
    table_env = flink_tables.environment(JOB, settings.flink, parameters(settings, encoder, version))
    table_env.get_config().set("table.exec.state.ttl", f"{rules.forget_ms} ms")
    # The planner plans a view that several sinks read once, on its own.
    table_env.get_config().set("table.optimizer.reuse-optimize-block-with-digest-enabled", "true")
    tables(table_env, settings, version)
    planned = views(table_env, settings, encoder, version)
    if options.explain:
        print(*(table_env.explain_sql(query) for query in planned), sep="\n")
    statements = table_env.create_statement_set()
    names = {"version": version}
    inserts = {"posteriors": POSTERIORS, topics.STATISTICS: STATISTICS, topics.REWARDS: REWARDS}
    for name, sql in inserts.items():
        statements.add_insert_sql(f"INSERT INTO {name} {sql.format(**names)}")
    statements.add_insert_sql(f"INSERT INTO {topics.DEAD_LETTERS} {DEAD}")
    flink_tables.execute(table_env, statements, options.explain, apart="posterior", source_uids=SOURCE_UIDS)


def parameters(settings: Settings, encoder: Encoder, version: str) -> dict[str, Any]:
    """Returns the parameters of the Java functions."""
    rules = settings.bandit
    rewards = sums_version.rule(rules).table.ravel().tolist()
    own: dict[str, Any] = {"actions": " ".join(ACTIONS), "reward_table": " ".join(map(repr, rewards))}
    own |= {"encoder": encoder.version, "d": encoder.d, "version": version}
    own |= {"fast_ms": rules.fast_ms, "reward_delay_ms": rules.reward_delay_ms}
    return own | {"periods": rules.periods_kept if rules.half_life_ms else 1}


def tables(table_env: StreamTableEnvironment, settings: Settings, version: str) -> None:
    """Declares the functions and the tables by the names that the SQL above uses.

    A job without state begins where its version left off: the sums are those of `statistics`, and the topics are read
    from where the consumer group of the version committed them, with the same checkpoint.
    """
    kafka = settings.kafka
    group = sums_version.group(JOB, version)
    flink_tables.functions(table_env, FUNCTIONS)
    posterior = udf(SolvedArms(settings.bandit.ridge), result_type="BYTES", func_type="pandas")
    table_env.create_temporary_system_function("posterior", posterior)
    source = flink_tables.contract_source
    of_group: dict[str, Any] = {"start": "group-offsets", "properties.auto.offset.reset": "earliest"}
    table_env.execute_sql(source(topics.IMPRESSIONS, "impression", IMPRESSION, kafka, group, None, **of_group))
    table_env.execute_sql(source(topics.CLICKS, "click", CLICK, kafka, group, None, **of_group))
    committed: dict[str, Any] = {"properties.isolation.level": "read_committed"}
    table_env.execute_sql(
        source(topics.STATISTICS, topics.STATISTICS, KNOWN, kafka, group, None, table=KEPT, bounded=True, **committed)
    )
    table_env.execute_sql(
        flink_tables.upsert_sink(topics.REWARDS, ddl("reward"), "user_id, impression_id, item_id", kafka, JOB)
    )
    key = "policy, arm, version"
    table_env.execute_sql(flink_tables.upsert_sink(topics.STATISTICS, ddl(topics.STATISTICS), key, kafka, JOB))
    table_env.execute_sql(flink_tables.dead_letter_sink(kafka, JOB))
    columns = "`key` STRING, field STRING, `value` BYTES, as_of_ms BIGINT"
    run = flink_tables.Run(JOB, restores=False)
    begins = redis_keys.bandits()
    table_env.execute_sql(redis_tables.sink("posteriors", columns, begins, settings.redis, run, command="HSET"))


def views(table_env: StreamTableEnvironment, settings: Settings, encoder: Encoder, version: str) -> list[str]:
    """Declares the views, each on those before it. Returns the queries that are planned once for all who read them."""
    rules = settings.bandit
    period = f"t / {rules.half_life_ms}" if rules.half_life_ms else "CAST(0 AS BIGINT)"
    # A savepoint finds its sums by this uid, so one of another encoder or half-life is refused.
    names = {"period": period, "version": version, "kept": KEPT} | flink_tables.ahead(settings.session.future_ms)
    names |= {"default": sums_version.DEFAULT, "state": f"{encoder.version}_{rules.half_life_ms}"}
    java, operators = table_env._j_tenv, flink_tables.operators()

    def view(name: str, sql: str) -> None:
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql.format(**names)}")

    planned = [sql.format(**names) for sql in (SHOWN, CHANGES, SUMS)]
    operators.shared(java, planned[0], "shown")
    view("acted", ACTED)
    view("events", EVENTS)
    operators.shared(java, planned[1], "changes")
    view("terms", TERMS)
    operators.partialSums(java, "terms", "partials", PARTIAL_MS)
    view("added", ADDED)
    operators.shared(java, planned[2], "totals")
    operators.newest(java, "totals", "fresh", FRESH_MS, "policy item_id")
    operators.newest(java, "totals", "kept", 0, "policy item_id")
    return planned


class SolvedArms(ScalarFunction):  # type: ignore[misc]
    """(sums) -> the packed posterior of each arm."""

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge

    def open(self, context: FunctionContext) -> None:
        self.failed = context.get_metric_group().counter("internal")

    def eval(self, sums: pd.Series) -> pd.Series:
        return rows(isolated(self.solved, (sums,), self.failed), ("posterior",), sums.index)["posterior"]

    def solved(self, sums: pd.Series) -> pd.DataFrame:
        return pd.DataFrame({"posterior": arms.solve_packed(sums.tolist(), self.ridge)}, index=sums.index)


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__).parse_args())
