"""Encrypted updates of edge nodes in Kafka -> exact encrypted sums of cohorts; opened sums -> the next global model.

source     topics `gradients` (udfs/federated/frame.py), `rounds`, `cohorts`, `aggregates`, `global_model`
           (schemas/*.avsc)
transform  headrace.udfs.federated.frame; frames of a round, kept and summed in the JVM (udfs/jvm/Intake);
           udfs/jvm/Fold, headrace.udfs.federated.rounds
sink       topics `receipts`, `sums`, `global_model` and `dead_letters`

The job has no key that opens anything: docs/federated.md says what it checks, and what it could see.

Run: headrace submit federated --state-backend rocksdb   (or: flink run -py jobs/streaming/federated.py)
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from pyflink.common import Row
from pyflink.table import StreamTableEnvironment
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from headrace.infra import federated_files
from headrace.infra.settings import Settings, load
from headrace.jobs.streaming import tables
from headrace.schemas import topics
from headrace.schemas.types import ddl
from headrace.udfs.contract import Contract
from headrace.udfs.federated import ciphertext, frame, rounds

JOB = "federated"
# Rows have 66 kB: a bundle of the other jobs' size would be too large. Python checks one batch while the next comes.
BUNDLE, BUNDLE_MS, ARROW_BATCH = 256, 100, 32
CONTROL = {
    topics.ROUNDS: "round",
    topics.COHORTS: "cohort",
    topics.AGGREGATES: "aggregate",
    topics.GLOBAL_MODEL: topics.GLOBAL_MODEL,
}

FRAMES = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.`round`, c.chunk, c.chunks, c.node, c.key_id, c.parameters, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, framed(`key`, `value`) AS c FROM gradients)"""
CHECKED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts, {columns}, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, check_{record}(`value`) AS c FROM {topic})"""
# What comes to one operator: columns that a kind of row does not have are NULL.
ROUND = {
    "round": "BIGINT",
    "kind": "TINYINT",
    "status": "STRING",
    "node": "STRING",
    "chunk": "BIGINT",
    "chunks": "BIGINT",
}
ROUND |= {"key_id": "STRING", "parameters": "STRING", "deadline_ms": "BIGINT", "nodes": "ARRAY<STRING>"}
ROUND |= {"attempt": "BIGINT", "bucket": "BIGINT", "buckets": "BIGINT"}
ROUND |= {"key": "BYTES", "value": "BYTES", "partition": "INT", "offset": "BIGINT"}
MODEL = {
    "model": "STRING",
    "kind": "TINYINT",
    "round": "BIGINT",
    "version": "BIGINT",
    "part": "BIGINT",
    "parts": "BIGINT",
}
MODEL |= {
    "length": "BIGINT",
    "rule": "STRING",
    "rate": "DOUBLE",
    "parameters": "STRING",
    "moments": "STRING",
    "layers": "STRING",
}
MODEL |= {"scale": "DOUBLE", "nodes": "BIGINT", "bucket": "BIGINT", "buckets": "BIGINT", "values": "STRING"}


def rows(columns: dict[str, str], table: str, kind: int, given: str, **renamed: str) -> str:
    """SELECT of good records as rows of a kind; given: the columns that they have, by their own names."""
    found = {name: f"`{name}`" for name in given.split()} | renamed | {"kind": str(kind)}
    cast = ", ".join(f"CAST({found.get(name, 'NULL')} AS {sql}) AS `{name}`" for name, sql in columns.items())
    return f"SELECT {cast}{', append_ts' if columns is ROUND else ''} FROM {table} WHERE reason IS NULL"


OF_ROUND = " UNION ALL ".join(
    [
        rows(ROUND, "checked_round", 0, "round status chunks key_id parameters deadline_ms", nodes="invited"),
        rows(ROUND, "checked_cohort", 1, "round chunks nodes attempt bucket buckets"),
        rows(ROUND, "frames", 2, "round node chunk chunks key_id parameters key value partition offset"),
    ]
)
OF_MODEL = " UNION ALL ".join(
    [
        rows(MODEL, "checked_global_model", 0, "model round version part parts length parameters moments layers"),
        rows(
            MODEL, "checked_aggregate", 1, "model round version part parts rule rate scale nodes bucket buckets values"
        )
        + " AND status = 'opened'",
    ]
)
INTAKE = """
    SELECT * FROM intake(
      input => TABLE of_round PARTITION BY `round`, on_time => DESCRIPTOR(append_ts), uid => 'intake')"""
RECEIPTS = "SELECT `round`, node, chunks, append_ms FROM taken WHERE kind = 0"
SUMS = """
    SELECT `round`, attempt, bucket, `buckets`, chunk, chunks, nodes, ciphertext FROM taken WHERE kind = 2"""
FOLDED = """
    SELECT model, version + 1, `round`, p.part, p.parts, length, p.parameters, p.moments, layers
    FROM (SELECT model, version, `round`, length, layers,
                 folded(`round`, rule, rate, scale, nodes, parameters, moments, `values`) AS f
          FROM fold(input => TABLE of_model PARTITION BY model, uid => 'fold'))
      CROSS JOIN UNNEST(f) AS p(part, parts, parameters, moments)"""
REFUSED = tables.dead_letter(topics.GRADIENTS, "TO_TIMESTAMP_LTZ(append_ms, 3)", "reason")
CHECKED_VIEWS = {topics.GRADIENTS: "frames"} | {topic: f"checked_{record}" for topic, record in CONTROL.items()}
DEAD = " UNION ALL ".join(
    [
        f"SELECT {REFUSED} FROM taken WHERE kind = 1",
        *(
            f"SELECT {tables.dead_letter(topic, 'append_ts', 'reason')} FROM {view} WHERE reason IS NOT NULL"
            for topic, view in CHECKED_VIEWS.items()
        ),
    ]
)
VIEWS = {"of_round": OF_ROUND, "taken": INTAKE, "of_model": OF_MODEL}

SINKS = [  # topic, schema, key
    (topics.RECEIPTS, "receipt", "round"),
    (topics.SUMS, "sum", "round"),
    (topics.GLOBAL_MODEL, topics.GLOBAL_MODEL, "model, part"),
]

PART = "part BIGINT, parts BIGINT, parameters STRING, moments STRING"
FRAME = {"round": "BIGINT", "chunk": "BIGINT", "chunks": "BIGINT", "node": "STRING", "key_id": "STRING"}
FRAME |= {"parameters": "STRING", "reason": "STRING", "detail": "STRING"}


def main(settings: Settings, options: argparse.Namespace) -> None:
    bundles = settings.flink.model_copy(update={"bundle_size": BUNDLE, "bundle_time_ms": BUNDLE_MS})
    layout = {"modulus": ciphertext.Q, "body_bytes": ciphertext.BODY_BYTES, "mac_bytes": frame.MAC_BYTES}
    table_env = tables.environment(JOB, bundles, {"hold_ms": settings.federated.hold_ms} | layout)
    table_env.get_config().set("python.fn-execution.arrow.batch.size", str(ARROW_BATCH))
    declare(table_env, settings)
    statements = table_env.create_statement_set()
    inserts = {topics.RECEIPTS: RECEIPTS, topics.SUMS: SUMS, f"{topics.GLOBAL_MODEL}_sink": FOLDED}
    for sink, sql in (inserts | {topics.DEAD_LETTERS: DEAD}).items():
        statements.add_insert_sql(f"INSERT INTO {sink} {sql}")
    tables.execute(table_env, statements, JOB, apart="folded", explain=options.explain)


def declare(table_env: StreamTableEnvironment, settings: Settings) -> None:
    """Tables, functions and views, by the names that the SQL above uses."""
    kafka = settings.kafka
    for topic in (topics.GRADIENTS, *CONTROL):
        table_env.execute_sql(tables.committed_source(topic, kafka, JOB))
    for topic, record, key in SINKS:
        table = f"{topic}_sink" if topic in CONTROL else topic
        table_env.execute_sql(tables.upsert_sink(topic, ddl(record), key, kafka, JOB, table))
    table_env.execute_sql(tables.dead_letter_sink(kafka, JOB))
    for name in ("Intake", "Fold"):
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name.lower()} AS 'headrace.{name}' LANGUAGE JAVA")
    frame_row = ", ".join(f"`{name}` {sql}" for name, sql in FRAME.items())
    macs = settings.federated.macs_file or str(federated_files.aggregator() / federated_files.MACS)
    python = {"framed": udf(Framed(macs), result_type=f"ROW<{frame_row}>", func_type="pandas")}
    python |= {"folded": udf(folded, result_type=f"ARRAY<ROW<{PART}>>", func_type="general")}
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
        self.keys = federated_files.Keys(Path(self.macs))
        self.refused = context.get_metric_group().counter("refused_frames")

    def eval(self, keys: pd.Series, values: pd.Series) -> pd.DataFrame:
        macs = self.keys.current()
        told = [rounds.received(value or b"", key or b"", macs) for key, value in zip(keys, values, strict=True)]
        self.refused.inc(sum(row[-1] is not None for row in told))
        return pd.DataFrame(dict(zip(FRAME, zip(*told, strict=True), strict=True)))


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


def folded(*columns: Any) -> list[Row]:
    """A general UDF, since a round gives one row."""
    return [Row(part, *told) for part, told in enumerate(rounds.folded(*columns))]


if __name__ == "__main__":
    main(load(), tables.arguments(__doc__).parse_args())
