"""Encrypted updates of edge nodes in Kafka -> exact encrypted sums of cohorts; opened sums -> the next global model.

source     topics `gradients` (udfs/federated/frame.py), `rounds`, `cohorts`, `aggregates`, `global_model`
           (schemas/*.avsc)
transform  headrace.udfs.federated.frame; udfs/jvm/Intake keeps and sums the frames of a round; udfs/jvm/Fold,
           headrace.udfs.federated.rounds
sink       topics `receipts`, `sums`, `global_model` and `dead_letters`

The job has no key that opens anything. docs/federated.md says what it checks and what it could see.

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
from headrace.jobs.streaming import flink_tables
from headrace.schemas import topics
from headrace.schemas.types import ddl
from headrace.udfs.contract import Contract
from headrace.udfs.federated import ciphertext, frame, rounds

JOB = "federated"
# A row has 66 kB, so a bundle of the other jobs' size would be too large. Python checks one batch while the next comes.
BUNDLE, BUNDLE_MS, ARROW_BATCH = 256, 100, 32
# The topics of schemas/*.avsc records, by the schema of each.
CONTROL = {
    topics.ROUNDS: "round",
    topics.COHORTS: "cohort",
    topics.AGGREGATES: "aggregate",
    topics.GLOBAL_MODEL: topics.GLOBAL_MODEL,
}


def types(columns: str) -> dict[str, str]:
    """Returns the SQL type of each column of a text `name TYPE, ...`, by name."""
    return {name: sql for name, _, sql in (column.strip().partition(" ") for column in columns.split(","))}


# 1. Records are checked: what each says, or a reason and a detail.
FRAME = types(
    "round BIGINT, chunk BIGINT, chunks BIGINT, node STRING, key_id STRING, parameters STRING, reason STRING,"
    "detail STRING"
)
FRAMES = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts,
           c.`round`, c.chunk, c.chunks, c.node, c.key_id, c.parameters, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, framed(`key`, `value`) AS c FROM gradients)"""
CHECKED = """
    SELECT `key`, `value`, `partition`, `offset`, append_ts, {columns}, c.reason, c.detail
    FROM (SELECT `key`, `value`, `partition`, `offset`, append_ts, check_{record}(`value`) AS c FROM {topic})"""
CHECKED_VIEWS = {topics.GRADIENTS: "frames"} | {topic: f"checked_{record}" for topic, record in CONTROL.items()}

# 2. Good records of several topics become the rows of one operator. Columns that a kind of row does not have are NULL.
ROUND = types(
    "round BIGINT, kind TINYINT, status STRING, node STRING, chunk BIGINT, chunks BIGINT, key_id STRING,"
    "parameters STRING, deadline_ms BIGINT, nodes ARRAY<STRING>, attempt BIGINT, bucket BIGINT, buckets BIGINT,"
    "key BYTES, value BYTES, partition INT, offset BIGINT"
)
MODEL = types(
    "model STRING, kind TINYINT, round BIGINT, version BIGINT, part BIGINT, parts BIGINT, length BIGINT, rule STRING,"
    "rate DOUBLE, parameters STRING, moments STRING, layers STRING, scale DOUBLE, nodes BIGINT, bucket BIGINT,"
    "buckets BIGINT, values STRING"
)


def rows(columns: dict[str, str], table: str, kind: int, given: str, **renamed: str) -> str:
    """Returns the SELECT of a table's good records as rows of one kind.

    given: the columns that the records have under the same name; renamed: those that have another name there.
    """
    sources = {name: f"`{name}`" for name in given.split()} | renamed | {"kind": str(kind)}
    cast = ", ".join(f"CAST({sources.get(name, 'NULL')} AS {sql}) AS `{name}`" for name, sql in columns.items())
    event_time = ", append_ts" if columns is ROUND else ""  # Intake has timers, Fold has none
    return f"SELECT {cast}{event_time} FROM {table} WHERE reason IS NULL"


OF_ROUND = " UNION ALL ".join(
    [
        rows(ROUND, "checked_round", 0, "round status chunks key_id parameters deadline_ms", nodes="invited"),
        rows(ROUND, "checked_cohort", 1, "round chunks nodes attempt bucket buckets"),
        rows(ROUND, "frames", 2, "round node chunk chunks key_id parameters key value partition offset"),
    ]
)
_MODEL_PART = "model round version part parts length parameters moments layers"
_AGGREGATE_PART = "model round version part parts rule rate scale nodes bucket buckets values"
OF_MODEL = " UNION ALL ".join(
    [
        rows(MODEL, "checked_global_model", 0, _MODEL_PART),
        f"{rows(MODEL, 'checked_aggregate', 1, _AGGREGATE_PART)} AND status = 'opened'",
    ]
)

# 3. Rows of a round -> receipts (kind 0), refused frames (kind 1), encrypted sums of cohorts (kind 2).
INTAKE = """
    SELECT * FROM intake(
      input => TABLE of_round PARTITION BY `round`, on_time => DESCRIPTOR(append_ts), uid => 'intake')"""
RECEIPTS = "SELECT `round`, node, chunks, append_ms FROM taken WHERE kind = 0"
SUMS = """
    SELECT `round`, attempt, bucket, `buckets`, chunk, chunks, nodes, ciphertext FROM taken WHERE kind = 2"""

# 4. Rows of a model -> a row for each part of its next version.
PART = "part BIGINT, parts BIGINT, parameters STRING, moments STRING"
FOLDED = """
    SELECT model, version + 1, `round`, p.part, p.parts, length, p.parameters, p.moments, layers
    FROM (SELECT model, version, `round`, length, layers,
                 folded(`round`, rule, rate, scale, nodes, parameters, moments, `values`) AS f
          FROM fold(input => TABLE of_model PARTITION BY model, uid => 'fold'))
      CROSS JOIN UNNEST(f) AS p(part, parts, parameters, moments)"""

# 5. Frames that Intake refused, and records that their check refused.
REFUSED = flink_tables.dead_letter(topics.GRADIENTS, "TO_TIMESTAMP_LTZ(append_ms, 3)", "reason")
DEAD = " UNION ALL ".join(
    [
        f"SELECT {REFUSED} FROM taken WHERE kind = 1",
        *(
            f"SELECT {flink_tables.dead_letter(topic, 'append_ts', 'reason')} FROM {view} WHERE reason IS NOT NULL"
            for topic, view in CHECKED_VIEWS.items()
        ),
    ]
)

# All views after the checks, all sinks, and what goes into each.
VIEWS = {"of_round": OF_ROUND, "taken": INTAKE, "of_model": OF_MODEL}
SINKS = [  # topic, schema, key
    (topics.RECEIPTS, "receipt", "round"),
    (topics.SUMS, "sum", "round"),
    (topics.GLOBAL_MODEL, topics.GLOBAL_MODEL, "model, part"),
]
INSERTS = {
    topics.RECEIPTS: RECEIPTS,
    topics.SUMS: SUMS,
    f"{topics.GLOBAL_MODEL}_sink": FOLDED,
    topics.DEAD_LETTERS: DEAD,
}


def main(settings: Settings, options: argparse.Namespace) -> None:
    bundles = settings.flink.model_copy(update={"bundle_size": BUNDLE, "bundle_time_ms": BUNDLE_MS})
    layout = {"modulus": ciphertext.Q, "body_bytes": ciphertext.BODY_BYTES, "mac_bytes": frame.MAC_BYTES}
    table_env = flink_tables.environment(JOB, bundles, {"hold_ms": settings.federated.hold_ms} | layout)
    table_env.get_config().set("python.fn-execution.arrow.batch.size", str(ARROW_BATCH))
    declare(table_env, settings)
    statements = table_env.create_statement_set()
    for sink, sql in INSERTS.items():
        statements.add_insert_sql(f"INSERT INTO {sink} {sql}")
    flink_tables.execute(table_env, statements, options.explain, apart="folded")


def declare(table_env: StreamTableEnvironment, settings: Settings) -> None:
    """Declares the tables, functions and views by the names that the SQL above uses."""
    kafka = settings.kafka
    for topic in (topics.GRADIENTS, *CONTROL):
        table_env.execute_sql(flink_tables.committed_source(topic, kafka, JOB))
    for topic, record, key in SINKS:
        table = f"{topic}_sink" if topic in CONTROL else topic
        table_env.execute_sql(flink_tables.upsert_sink(topic, ddl(record), key, kafka, JOB, table))
    table_env.execute_sql(flink_tables.dead_letter_sink(kafka, JOB))
    for name in ("Intake", "Fold"):
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name.lower()} AS 'headrace.{name}' LANGUAGE JAVA")
    frame_row = ", ".join(f"`{name}` {sql}" for name, sql in FRAME.items())
    macs = settings.federated.macs_file or str(federated_files.aggregator() / federated_files.MACS)
    python = {"framed": udf(Framed(macs), result_type=f"ROW<{frame_row}>", func_type="pandas")}
    python |= {"folded": udf(folded, result_type=f"ARRAY<ROW<{PART}>>", func_type="general")}
    for record in CONTROL.values():
        python[f"check_{record}"] = udf(
            CheckedRecord(record), result_type=f"ROW<{_columns(record)}>", func_type="pandas"
        )
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
    """Returns the DDL of the schema's columns but `reason`, all nullable, and of what `CheckedRecord` adds."""
    columns = [column.removesuffix(" NOT NULL") for column in ddl(record).split(", ")]
    kept = [column for column in columns if not column.startswith("`reason`")]
    return ", ".join([*kept, "reason STRING", "detail STRING"])


class Framed(ScalarFunction):  # type: ignore[misc]
    """(key, value) -> the header of an authentic frame, or reason and detail."""

    def __init__(self, macs: str) -> None:
        self.macs = macs

    def open(self, context: FunctionContext) -> None:
        self.keys = federated_files.Keys(Path(self.macs))
        self.refused = context.get_metric_group().counter("refused_frames")

    def eval(self, keys: pd.Series, values: pd.Series) -> pd.DataFrame:
        macs = self.keys.current()
        received = [rounds.received(value or b"", key or b"", macs) for key, value in zip(keys, values, strict=True)]
        self.refused.inc(sum(row[-1] is not None for row in received))
        return pd.DataFrame(dict(zip(FRAME, zip(*received, strict=True), strict=True)))


class CheckedRecord(ScalarFunction):  # type: ignore[misc]
    """(value,) -> a record as columns, or reason and detail."""

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
    """Returns the parts of the next model. It is a general UDF, not a vectorised one, since a round gives one row."""
    return [Row(number, *part) for number, part in enumerate(rounds.folded(*columns))]


if __name__ == "__main__":
    main(load(), flink_tables.arguments(__doc__).parse_args())
