"""Impressions and clicks in Kafka -> the reward of each impression -> each arm's sums and posterior -> Redis, Kafka.

source     topics `impressions` and `clicks`, records of schemas/impression.avsc and click.avsc
transform  headrace.udfs.contract, reward of each impression in SQL (docs/bandit.md), sums per arm (udfs/jvm/ArmSums),
           headrace.udfs.bandit.arms
sink       Redis hash headrace.schemas.redis_keys.bandit(policy); topics `rewards`, `statistics` and `dead_letters`

Nothing here waits for a watermark, and no result depends on the order in which the two topics arrive: an impression and
its feedback are joined as soon as both are there, and the reward is a function of a set. session_features reads the
same topic and sends a bad click to the dead letters; this job only counts it, so that a bad record is one dead letter.

Run: headrace submit bandit      (or: flink run -py jobs/streaming/bandit.py, see docs/cluster.md)
"""

import argparse
from base64 import b64encode
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from headrace.infra import extensions
from headrace.infra.settings import Redis, Settings, load
from headrace.jobs.streaming import clicks, flink_tables
from headrace.jobs.streaming.redis_function import WritingFunction
from headrace.schemas import redis_keys, topics
from headrace.schemas.types import ddl
from headrace.udfs import resp
from headrace.udfs.bandit import arms, reward
from headrace.udfs.bandit.context import Encoder
from headrace.udfs.bandit.reward import RewardRule
from headrace.udfs.contract import Contract, Fault

JOB = "bandit"

# Each record of `impressions`: its columns, or a reason and a detail.
VALIDATED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.user_id, c.impression_id, c.item_id, c.surface, c.`position`, c.policy, c.model_version, c.x, c.propensity,
           c.t, c.encoder_version, c.append_ms, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, shown(`value`, append_ts) AS c FROM impressions)"""
KEY = "user_id, impression_id, item_id"
COLUMNS = f"{KEY}, surface, `position`, policy, model_version, x, propensity, t, encoder_version"
# Of the impressions with the same key, the first to arrive. Both readers of this view need append_ms, so the planner
# keeps one state for both.
SHOWN = f"""
    SELECT {COLUMNS}, append_ms FROM (
      SELECT *, ROW_NUMBER() OVER (PARTITION BY {KEY} ORDER BY arrival) AS copy
      FROM (SELECT {COLUMNS}, append_ms, PROCTIME() AS arrival FROM validated WHERE reason IS NULL))
    WHERE copy = 1"""
# The clicks that name an impression: (user_id, impression_id, item_id, t, append_ms, action, fast, slow).
FEEDBACK = """
    SELECT c.user_id, c.impression_id, c.item_id, c.t, c.append_ms, c.action, c.fast, c.slow
    FROM (SELECT feedback(`value`, append_ts) AS c FROM clicks) WHERE c.impression_id IS NOT NULL"""
# A row for each click on an impression: (COLUMNS, append_ms, action, reward).
MATCHED = f"""
    SELECT {", ".join(f"s.{column}" for column in COLUMNS.split(", "))},
           GREATEST(s.append_ms, f.append_ms) AS append_ms, f.action,
           CASE WHEN f.t - s.t <= {{fast_ms}} THEN f.fast ELSE f.slow END AS reward
    FROM shown AS s JOIN feedback AS f
      ON s.user_id = f.user_id AND s.impression_id = f.impression_id AND s.item_id = f.item_id
        AND f.t - s.t BETWEEN 0 AND {{reward_delay_ms}}"""
# (COLUMNS, append_ms, reward, kept, returned). An impression counts from its beginning, with reward 0. The highest
# `returned` says what became of the item: 1 given back, 0 bought, -1 taken out of the cart, -2 none of them. It is one
# number, 1 for a refund and 0 for a purchase, because savepoints of earlier releases hold it so.
EVENTS = f"""
    SELECT {COLUMNS}, append_ms, CAST(0 AS DOUBLE) AS reward, CAST(0 AS DOUBLE) AS kept, -2 AS returned FROM shown
    UNION ALL
    SELECT {COLUMNS}, append_ms, reward,
           CASE WHEN action IN ('purchase', 'cart') THEN CAST(0 AS DOUBLE) ELSE reward END,
           CASE action WHEN 'refund' THEN 1 WHEN 'purchase' THEN 0 WHEN 'uncart' THEN -1 ELSE -2 END FROM matched"""
# A row for each impression: (COLUMNS, as_of_ms, reward). All columns follow from the key, so grouping by all of them
# keeps none a second time beside it.
REWARDED = f"""
    SELECT {COLUMNS}, MAX(append_ms) AS as_of_ms,
           CASE WHEN MIN(reward) < 0 THEN MIN(reward)
                WHEN MAX(returned) IN (1, -1) THEN MAX(kept)
                ELSE MAX(reward) END AS reward
    FROM events GROUP BY {COLUMNS}"""
TERMS = "SELECT policy, item_id, x, reward, as_of_ms, {period} AS `period` FROM rewarded"
# A row for each arm: (policy, item_id, n, packed, as_of_ms). A savepoint finds its sums by the uid, so one of another
# encoder or half-life is refused. This is no view, because the planner loses the brackets when it expands one.
STATISTICS = """
    SELECT policy, item_id, n, packed, as_of_ms
    FROM (SELECT policy, item_id, n, project(policy, item_id, sums) AS packed, as_of_ms
          FROM arm_sums(input => TABLE terms PARTITION BY (policy, item_id), uid => 'arm_sums_{version}'))
    WHERE packed IS NOT NULL"""
REWARDS = f"""
    SELECT {COLUMNS.replace("x,", "doubles(x),")}, reward, as_of_ms
    FROM TO_CHANGELOG(input => TABLE rewarded) WHERE op <> 'UPDATE_BEFORE'"""
LETTER = flink_tables.dead_letter(topics.IMPRESSIONS, "append_ts", "reason")
DEAD = f"""
    SELECT {LETTER} FROM validated WHERE reason IS NOT NULL"""
VIEWS = {"validated": VALIDATED, "shown": SHOWN, "feedback": FEEDBACK, "matched": MATCHED, "events": EVENTS}
VIEWS |= {"rewarded": REWARDED, "terms": TERMS}

IMPRESSION = """
    user_id STRING, impression_id STRING, item_id STRING, surface STRING, `position` BIGINT, policy STRING,
    model_version STRING, x BYTES, propensity DOUBLE, t BIGINT, encoder_version STRING, append_ms BIGINT,
    reason STRING, detail STRING"""
CLICK = """
    user_id STRING, impression_id STRING, item_id STRING, t BIGINT, append_ms BIGINT, action STRING,
    fast DOUBLE, slow DOUBLE"""


def main(settings: Settings, options: argparse.Namespace) -> None:
    rules = settings.bandit
    table_env = flink_tables.environment(
        JOB, settings.flink, {"periods": rules.periods_kept if rules.half_life_ms else 1}
    )
    config = table_env.get_config()
    config.set("table.exec.state.ttl", f"{rules.forget_ms} ms")
    # The planner plans a view that several sinks read once, on its own. Else each sink would validate, join and group.
    config.set("table.optimizer.reuse-optimize-block-with-digest-enabled", "true")
    encoder = extensions.resolve_kind("bandit.encoder", rules.encoder, Encoder)
    declare(table_env, settings, encoder)
    statements = table_env.create_statement_set()
    statistics = STATISTICS.format(version=f"{encoder.version}_{rules.half_life_ms}")
    for topic, sql in {topics.STATISTICS: statistics, topics.REWARDS: REWARDS, topics.DEAD_LETTERS: DEAD}.items():
        statements.add_insert_sql(f"INSERT INTO {topic} {sql}")
    flink_tables.execute(table_env, statements, JOB, apart="project", explain=options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings, encoder: Encoder) -> None:
    """Declares the tables, functions and views by the names that the SQL above uses."""
    kafka, rules, future_ms = settings.kafka, settings.bandit, settings.session.future_ms
    rule = RewardRule(rules.rewards, rules.fast_ms, rules.fast_factor, rules.first_factor, rules.reward_delay_ms)
    python = {
        "shown": udf(Impressions(encoder, future_ms), result_type=f"ROW<{IMPRESSION}>", func_type="pandas"),
        "feedback": udf(RewardedClick(rule, future_ms), result_type=f"ROW<{CLICK}>", func_type="pandas"),
        "project": udf(ProjectArms(settings.redis.sealed(), rules.ridge), result_type="STRING", func_type="pandas"),
    }
    for topic in (topics.IMPRESSIONS, topics.CLICKS):
        table_env.execute_sql(flink_tables.raw_source(topic, kafka, JOB, future_ms))
    table_env.execute_sql(flink_tables.upsert_sink(topics.REWARDS, ddl("reward"), KEY, kafka, JOB))
    table_env.execute_sql(
        flink_tables.upsert_sink(topics.STATISTICS, ddl(topics.STATISTICS), "policy, arm", kafka, JOB)
    )
    table_env.execute_sql(flink_tables.dead_letter_sink(kafka, JOB))
    for name, java in {"arm_sums": "ArmSums", "doubles": "Doubles"}.items():
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name} AS 'headrace.{java}' LANGUAGE JAVA")
    for name, function in python.items():
        table_env.create_temporary_system_function(name, function)
    period = f"t / {rules.half_life_ms}" if rules.half_life_ms else "CAST(0 AS BIGINT)"
    numbers = {"fast_ms": rules.fast_ms, "reward_delay_ms": rules.reward_delay_ms, "period": period}
    for name, sql in VIEWS.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql.format(**numbers)}")


class Impressions(ScalarFunction):  # type: ignore[misc]
    """(value, append_ts) -> an impression with its context packed, or reason and detail."""

    def __init__(self, encoder: Encoder, future_ms: int) -> None:
        self.encoder, self.future_ms = encoder, future_ms

    def open(self, context: FunctionContext) -> None:
        self.impression = Contract.of("impression")
        self.refused = context.get_metric_group().counter("refused_impressions")

    def eval(self, values: pd.Series, append_ts: pd.Series) -> pd.DataFrame:
        columns, faults = self.impression.columns(values)
        c: dict[str, Any] = dict(zip(self.impression.fields, columns, strict=True))
        t, append_ms = clicks.times(c["ts_ms"], append_ts, self.future_ms, faults)
        self._refuse_other_encoders(c["encoder_version"], c["context"], faults)
        self.refused.inc(len(faults) - faults.count(None))
        return pd.DataFrame(
            {name: c[name] for name in ("user_id", "impression_id", "item_id", "surface")}
            | {"position": [place or 0 for place in c["position"]], "policy": c["policy"]}
            | {"model_version": c["model_version"], "x": self._packed(c["context"], faults)}
            | {"propensity": np.array(c["propensity"], np.float64), "t": t}
            | {"encoder_version": c["encoder_version"], "append_ms": append_ms}
            | {"reason": [fault and fault.reason for fault in faults]}
            | {"detail": [fault and fault.detail for fault in faults]}
        )

    def _refuse_other_encoders(self, versions: Any, contexts: Any, faults: list[Fault | None]) -> None:
        ours, d = (None, self.encoder.version), self.encoder.d
        for i, (version, context) in enumerate(zip(versions, contexts, strict=True)):
            if faults[i] is None and (version not in ours or len(context) != d):
                try:
                    self.encoder.check(version, context)
                except ValueError as error:
                    faults[i] = Fault("encoder", str(error))

    def _packed(self, contexts: Any, faults: list[Fault | None]) -> list[bytes | None]:
        good = [context for context, fault in zip(contexts, faults, strict=True) if fault is None]
        rows = iter(arms.quantise(np.array(good).reshape(-1, self.encoder.d)).astype("<f8"))
        return [None if fault else next(rows).tobytes() for fault in faults]


class RewardedClick(ScalarFunction):  # type: ignore[misc]
    """(value, append_ts) -> a click that names an impression, with its reward if fast and if slow; else NULLs."""

    def __init__(self, rule: RewardRule, future_ms: int) -> None:
        self.rule, self.future_ms = rule, future_ms

    def open(self, context: FunctionContext) -> None:
        self.click = Contract.of("click")
        self.refused = context.get_metric_group().counter("refused_clicks")

    def eval(self, values: pd.Series, append_ts: pd.Series) -> pd.DataFrame:
        columns, faults = self.click.columns(values)
        c: dict[str, Any] = dict(zip(self.click.fields, columns, strict=True))
        t, append_ms = clicks.times(c["ts_ms"], append_ts, self.future_ms, faults)
        self.refused.inc(len(faults) - faults.count(None))
        actions = [action or "ignore" for action in c["action"]]
        worth = [
            reward.feedbacks(actions, np.full(len(t), elapsed_ms), c["session_position"], self.rule)
            for elapsed_ms in (0, self.rule.fast_ms + 1)
        ]
        ids = [id_ or None if fault is None else None for id_, fault in zip(c["impression_id"], faults, strict=True)]
        return pd.DataFrame(
            {"user_id": c["user_id"], "impression_id": ids, "item_id": c["item_id"], "t": t, "append_ms": append_ms}
            | {"action": c["action"], "fast": worth[0], "slow": worth[1]}
        )


class ProjectArms(WritingFunction):
    """(policy, arm, sums) -> each arm's posterior in Redis; its newest sums in base64, NULL in its other rows."""

    def __init__(self, redis: Redis, ridge: float) -> None:
        super().__init__(redis)
        self.ridge = ridge

    def open(self, context: FunctionContext) -> None:
        super().open(context)
        self.write_ms = context.get_metric_group().distribution("redis_write_ms")

    def eval(self, policies: pd.Series, items: pd.Series, sums: pd.Series) -> pd.Series:
        newest = (~pd.DataFrame({"policy": policies, "arm": items}).duplicated(keep="last")).to_numpy()
        packed = sums[newest].tolist()
        posteriors = arms.solve_packed(packed, self.ridge)
        began_s = monotonic()
        self.writer.write(resp.fields(map(redis_keys.bandit, policies[newest]), items[newest], posteriors), 1)
        self.write_ms.update(int(1000 * (monotonic() - began_s)))
        answer = np.full(len(sums), None, dtype=object)
        answer[newest] = [b64encode(each).decode() for each in packed]
        return pd.Series(answer, index=sums.index)


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__).parse_args())
