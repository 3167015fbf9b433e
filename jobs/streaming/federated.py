"""Encrypted updates of edge nodes in Kafka -> exact encrypted sums of cohorts; opened sums -> the next global model.

source     topics `gradients` (udfs/frame.py), `rounds`, `cohorts`, `aggregates`, `global_model` (schemas/*.avsc)
transform  udfs.frame, frames of a round and its cohorts (udfs/jvm/Intake), sums (infra.homomorphic); udfs/jvm/Fold, udfs.federated
sink       topics `receipts`, `sums`, `global_model` and `dead_letters`

The job has no key that opens anything: docs/federated.md says what it checks, and what it could see.

Run: headrace submit federated --state-backend rocksdb     (or: flink run -py jobs/streaming/federated.py, see docs/cluster.md)
"""

import argparse
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyflink.common import Row
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from infra import federation, homomorphic
from infra.guard import Guard
from infra.settings import Settings, load
from jobs.streaming import flink
from schemas import topics
from schemas.types import ddl
from udfs import frame, rounds
from udfs.contract import Contract, Fault

JOB = "federated"
AT_A_TIME = 32  # rows of an Arrow batch: frames of 66 kB, or portions of 1 MB
CONTROL = {topics.ROUNDS: "round", topics.COHORTS: "cohort", topics.AGGREGATES: "aggregate", topics.GLOBAL_MODEL: "global_model"}

FRAMES = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.`round`, c.chunk, c.chunks, c.node, c.key_id, c.parameters, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, framed(`key`, `value`) AS c FROM gradients)"""
CHECKED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts, {columns}, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, check_{record}(`value`) AS c FROM {topic})"""
NO_FRAME = "CAST(NULL AS BYTES) AS `key`, CAST(NULL AS BYTES) AS `value`, CAST(NULL AS INT) AS `partition`, CAST(NULL AS BIGINT) AS `offset`"
NO_COHORT = "CAST(NULL AS BIGINT) AS attempt, CAST(NULL AS BIGINT) AS bucket, CAST(NULL AS BIGINT) AS `buckets`"
OF_ROUND = f"""
    SELECT `round`, CAST(0 AS TINYINT) AS kind, status, CAST(NULL AS STRING) AS node, CAST(NULL AS BIGINT) AS chunk, chunks,
           key_id, parameters, deadline_ms, invited AS nodes, {NO_COHORT}, {NO_FRAME}, append_ts
    FROM checked_round WHERE reason IS NULL
    UNION ALL
    SELECT `round`, CAST(1 AS TINYINT), CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS BIGINT), chunks,
           CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS BIGINT), nodes, attempt, bucket, `buckets`, {NO_FRAME}, append_ts
    FROM checked_cohort WHERE reason IS NULL
    UNION ALL
    SELECT `round`, CAST(2 AS TINYINT), CAST(NULL AS STRING), node, chunk, chunks, key_id, parameters, CAST(NULL AS BIGINT),
           CAST(NULL AS ARRAY<STRING>), {NO_COHORT}, `key`, `value`, `partition`, `offset`, append_ts
    FROM frames WHERE reason IS NULL"""
INTAKE = """
    SELECT * FROM intake(
      input => TABLE of_round PARTITION BY `round`, on_time => DESCRIPTOR(append_ts), uid => 'intake')"""
RECEIPTS = "SELECT `round`, node, chunks, append_ms FROM taken WHERE kind = 0"
COHORT = "`round`, attempt, bucket, `buckets`, chunk, chunks"
PORTIONS = f"""
    SELECT {COHORT}, nodes, portions, summed(frames) AS body FROM taken WHERE kind = 2"""
WHOLE = f"""
    SELECT * FROM (
      SELECT /*+ STATE_TTL('summed_portions' = '10min') */ {COHORT}, LAST_VALUE(nodes) AS nodes, ARRAY_AGG(body) AS bodies,
             COUNT(*) AS arrived, MAX(portions) AS portions
      FROM summed_portions GROUP BY {COHORT})
    WHERE arrived = portions"""
SUMS = f"""
    SELECT {COHORT}, nodes, whole(bodies) FROM TO_CHANGELOG(input => TABLE whole_sums) WHERE op = 'INSERT'"""
OF_MODEL = """
    SELECT model, CAST(0 AS TINYINT) AS kind, `round`, version, part, parts, length, CAST(NULL AS STRING) AS rule, parameters,
           moments, layers, CAST(NULL AS DOUBLE) AS scale, CAST(NULL AS BIGINT) AS nodes, CAST(NULL AS BIGINT) AS bucket,
           CAST(NULL AS BIGINT) AS `buckets`, CAST(NULL AS STRING) AS `values`
    FROM checked_global_model WHERE reason IS NULL
    UNION ALL
    SELECT model, CAST(1 AS TINYINT), `round`, version, part, parts, CAST(NULL AS BIGINT), rule, CAST(NULL AS STRING),
           CAST(NULL AS STRING), CAST(NULL AS STRING), scale, nodes, bucket, `buckets`, `values`
    FROM checked_aggregate WHERE reason IS NULL AND status = 'opened'"""
FOLDED = """
    SELECT model, version + 1, `round`, p.part, p.parts, length, p.parameters, p.moments, layers
    FROM (SELECT model, version, `round`, length, layers, folded(`round`, rule, scale, nodes, parameters, moments, `values`) AS f
          FROM fold(input => TABLE of_model PARTITION BY model, uid => 'fold'))
      CROSS JOIN UNNEST(f) AS p(part, parts, parameters, moments)"""
DEAD = [
    f"SELECT {flink.dead_letter(topics.GRADIENTS, 'TO_TIMESTAMP_LTZ(append_ms, 3)', 'reason')} FROM taken WHERE kind = 1",
    f"SELECT {flink.dead_letter(topics.GRADIENTS, 'append_ts', 'reason')} FROM frames WHERE reason IS NOT NULL",
    *(f"SELECT {flink.dead_letter(topic, 'append_ts', 'reason')} FROM checked_{record} WHERE reason IS NOT NULL" for topic, record in CONTROL.items()),
]
VIEWS = {"of_round": OF_ROUND, "taken": INTAKE, "summed_portions": PORTIONS, "whole_sums": WHOLE, "of_model": OF_MODEL}

SINKS = [  # topic, schema, key
    (topics.RECEIPTS, "receipt", "round"),
    (topics.SUMS, "sum", "round"),
    (topics.GLOBAL_MODEL, "global_model", "model, part"),
]

PART = "part BIGINT, parts BIGINT, parameters STRING, moments STRING"
FRAME_FIELDS = ["round", "chunk", "chunks", "node", "key_id", "parameters", "reason", "detail"]
FRAME = "`round` BIGINT, chunk BIGINT, chunks BIGINT, node STRING, key_id STRING, parameters STRING, reason STRING, detail STRING"


def main(settings: Settings, options: argparse.Namespace) -> None:
    # Rows are large: a batch of the other jobs' size would be half a gigabyte.
    batches = settings.flink.model_copy(update={"bundle_size": AT_A_TIME})
    table_env = flink.environment(JOB, batches, {"hold_ms": settings.federated.hold_ms})
    config = table_env.get_config()
    config.set("table.exec.state.ttl", f"{settings.federated.forget_ms} ms")
    declare(table_env, settings)
    statements = table_env.create_statement_set()
    inserts = {topics.RECEIPTS: RECEIPTS, topics.SUMS: SUMS, f"{topics.GLOBAL_MODEL}_sink": FOLDED}
    for sink, sql in (inserts | {topics.DEAD_LETTERS: " UNION ALL ".join(DEAD)}).items():
        statements.add_insert_sql(f"INSERT INTO {sink} {sql}")
    flink.execute(table_env, statements, JOB, apart="summed", explain=options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings) -> None:
    """Tables, functions and views, by the names that the SQL above uses."""
    kafka = settings.kafka
    for topic in (topics.GRADIENTS, *CONTROL):
        table_env.execute_sql(flink.committed_source(topic, kafka, JOB))
    for topic, record, key in SINKS:
        table = f"{topic}_sink" if topic in CONTROL else topic
        table_env.execute_sql(flink.upsert_sink(topic, ddl(record), key, kafka, JOB, table))
    table_env.execute_sql(flink.dead_letter_sink(kafka, JOB))
    for name in ("Intake", "Fold"):
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name.lower()} AS 'headrace.{name}' LANGUAGE JAVA")
    macs = str(federation.aggregator() / federation.MACS)
    python = {"framed": udf(Framed(macs), result_type=f"ROW<{FRAME}>", func_type="pandas")}
    python |= {"folded": udf(folded, result_type=f"ARRAY<ROW<{PART}>>", func_type="general")}
    python |= {"summed": udf(Summed(encoded=False), result_type="BYTES", func_type="pandas")}
    python |= {"whole": udf(Summed(encoded=True), result_type="STRING", func_type="pandas")}
    for record in CONTROL.values():
        python[f"check_{record}"] = udf(Checked(record), result_type=f"ROW<{_columns(record)}>", func_type="pandas")
    for name, function in python.items():
        table_env.create_temporary_system_function(name, function)
    table_env.execute_sql(f"CREATE TEMPORARY VIEW frames AS {FRAMES}")
    for topic, record in CONTROL.items():
        columns = ", ".join(f"c.`{name}`" for name in Contract.of(record).fields if name != "reason")
        sql = CHECKED.format(columns=columns, record=record, topic=topic)
        table_env.execute_sql(f"CREATE TEMPORARY VIEW checked_{record} AS {sql}")
    for name, sql in VIEWS.items():
        table_env.execute_sql(f"CREATE TEMPORARY VIEW {name} AS {sql}")


def _columns(record: str) -> str:
    """The schema's but `reason`, all nullable; then what `Checked` adds."""
    columns = [column.removesuffix(" NOT NULL") for column in ddl(record).split(", ")]
    kept = [column for column in columns if not column.startswith("`reason`")]
    return ", ".join([*kept, "reason STRING", "detail STRING"])


class Framed(ScalarFunction):  # type: ignore[misc]
    """(key, value) -> what an authentic frame says of itself, or reason and detail."""

    def __init__(self, macs: str) -> None:
        self.macs = macs

    def open(self, context: FunctionContext) -> None:
        self.keys = federation.Keys(Path(self.macs))
        self.guard = Guard()
        self.refused = context.get_metric_group().counter("refused_frames")

    def close(self) -> None:
        self.guard.close()

    def eval(self, keys: pd.Series, values: pd.Series) -> pd.DataFrame:
        macs = self.keys.current()
        found = [authentic(value or b"", key or b"", macs) for key, value in zip(keys, values, strict=True)]
        good = [each for each in found if isinstance(each, frame.Frame)]
        sound = dict(zip(map(id, good), self.guard.loadable([each.body for each in good]), strict=True))
        rows = [fields(each, sound.get(id(each), False)) for each in found]
        self.refused.inc(sum(row[-1] is not None for row in rows))
        return pd.DataFrame(rows, columns=FRAME_FIELDS, dtype=object).astype(dict.fromkeys(FRAME_FIELDS[:3], "int64"))


def authentic(value: bytes, key: bytes, macs: dict[str, bytes]) -> frame.Frame | Fault:
    found = frame.parse(value, key)
    if isinstance(found, frame.Fault):
        return Fault(*found)
    if found.node not in macs:
        return Fault("unknown node", f"node must be provisioned, got {found.node}")
    if not frame.is_authentic(value, macs[found.node]):
        return Fault("wrong MAC", f"the frame must end in the MAC of node {found.node}")
    return found


def fields(found: frame.Frame | Fault, is_sound: bool) -> tuple[Any, ...]:
    if isinstance(found, Fault):
        return 0, 0, 0, None, None, None, *found
    told = (*found[:4], found.key_id.hex(), found.parameters.hex())
    return *told, *((None, None) if is_sound else ("bad ciphertext", "body must be a ciphertext"))


class Checked(ScalarFunction):  # type: ignore[misc]
    """A record as columns, or reason and detail."""

    def __init__(self, record: str) -> None:
        self.record = record

    def open(self, context: FunctionContext) -> None:
        self.contract = Contract.of(self.record)

    def eval(self, values: pd.Series) -> pd.DataFrame:
        columns, faults = self.contract.columns(values)
        c: dict[str, Any] = dict(zip(self.contract.fields, columns, strict=True))
        c.pop("reason", None)
        c["reason"] = [fault and fault.reason for fault in faults]
        c["detail"] = [fault and fault.detail for fault in faults]
        return pd.DataFrame({name: pd.Series(column, dtype=object) for name, column in c.items()})


class Summed(ScalarFunction):  # type: ignore[misc]
    """Frames, or sums of frames, added up: a ciphertext a row, as base64 if it leaves Flink."""

    def __init__(self, encoded: bool) -> None:
        self.encoded = encoded

    def open(self, context: FunctionContext) -> None:
        self.adder = homomorphic.Adder()

    def eval(self, rows: pd.Series) -> pd.Series:
        if self.encoded:
            return pd.Series([b64encode(self.adder.add(list(bodies))).decode() for bodies in rows], dtype=object)
        return pd.Series([self.adder.add(list(map(body, values))) for values in rows], dtype=object)


def body(value: bytes) -> bytes:
    """Of a frame that `Framed` has passed."""
    found = frame.parse(value)
    assert isinstance(found, frame.Frame)
    return found.body


def folded(number: int, rule: str, scale: float, nodes: Any, parameters: Any, moments: Any, values: Any) -> list[Row]:
    """A general UDF, since a round gives one row."""
    model = rounds.join(parameters, "<f4")[0].astype(np.float64)
    before = None if moments is None else rounds.join(moments, "<f8", 2)
    totals = [rounds.join(bucket, "<i8")[0] for bucket in np.array_split(list(values), len(nodes))]
    updates = rounds.mean_update(list(map(rounds.Opened, totals, nodes)), scale, number)
    state = rounds.fold(model, before, rounds.combined(updates), rule)
    after = rounds.split(np.array([state.momentum, state.variance]), "<f8")
    new = rounds.split(state.model, "<f4")
    return [Row(part, len(new), new[part], after[part]) for part in range(len(new))]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explain", action="store_true", help="print the plan and start nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main(load(), arguments())
