"""What every streaming job shares: its table environment, and its Kafka tables as SQL."""

import argparse
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StatementSet, StreamTableEnvironment
from pyflink.util.java_utils import load_java_class

from headrace import schemas
from headrace.infra.settings import Flink, Kafka
from headrace.schemas import topics
from headrace.udfs.contract import MAX_BYTES

MAX_KEY_BYTES = MAX_BYTES // 2  # of a dead letter: with a value of MAX_BYTES and headers it is below 2 MiB
MAX_REQUEST_BYTES = 4 * MAX_BYTES  # one record before compression
SOURCE = re.compile(r"^\w+-default_catalog\.default_database\.(\w+)$")  # the name of an operator
SINK = re.compile(r"Sink\(table=\[default_catalog\.default_database\.(\w+)\]")  # in its description
# The uids of sources that had none in 0.1.0 and 0.2.0. Each hashes to the operator id that Flink gave its source then,
# so their savepoints go on. A uidHash would not do: it finds the readers' offsets, but not what the enumerator had
# assigned, and every partition would be read once more.
SOURCE_UIDS = {topics.CLICKS: "source of clicks0000000004689855goxuWF%Abf,RQSJ>"}
FUNCTIONS = {"at_most": "AtMost", "epoch_ms": "EpochMs"}  # that the SQL of this module uses


class Run(NamedTuple):
    """A run of a job: the one that goes on for ever, or one beside it that restores what Redis lost, and ends."""

    job: str
    restores: bool

    @property
    def name(self) -> str:
        """Of the run in Flink, and of its consumer group."""
        return f"restoring-{self.job}" if self.restores else self.job


def arguments(doc: str | None, redis_only: bool = False) -> argparse.ArgumentParser:
    """Returns the parser of a job's options. redis_only: the job can write Redis again, as `headrace restore` asks."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explain", action="store_true", help="print the plan and start nothing")
    if redis_only:
        about = "write what Redis lost, from a savepoint of the job and the topic as they are now, then end"
        parser.add_argument("--redis-only", action="store_true", help=about)
    return parser


def environment(job: str, flink: Flink, parameters: dict[str, Any]) -> StreamTableEnvironment:
    """Returns a streaming table environment. The cluster sets the checkpoint folder, the state backend and restarts.

    parameters: the Java functions see each as headrace.NAME.
    """
    conf = Configuration()
    conf.set_string("pipeline.name", flink.prefix + job)
    java = ",".join(f"headrace.{name}:{value}" for name, value in parameters.items())
    conf.set_string("pipeline.global-job-parameters", java)
    conf.set_string("execution.checkpointing.interval", f"{flink.checkpoint_interval_s} s")
    # The default, 100 ms, is most of a click's way to Redis.
    conf.set_string("execution.buffer-timeout.interval", "5 ms")
    conf.set_string("pipeline.object-reuse", "true")
    conf.set_string("python.metric.enabled", "true")
    # Most keys of a stream are new. Without the filter the bandit fell from 8,000 to 2,300 impressions/s at 400,000
    # keys: half of the CPU went into reading and unpacking blocks that do not hold the key.
    conf.set_string("state.backend.rocksdb.use-bloom-filter", "true")
    conf.set_string("table.local-time-zone", "UTC")
    conf.set_string("table.exec.source.idle-timeout", f"{flink.idle_timeout_s} s")
    conf.set_string("python.fn-execution.bundle.time", str(flink.bundle_time_ms))
    conf.set_string("python.fn-execution.bundle.size", str(flink.bundle_size))
    conf.set_string("python.fn-execution.arrow.batch.size", str(flink.bundle_size))
    table_env = StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(conf))
    functions(table_env, FUNCTIONS)
    return table_env


def functions(table_env: StreamTableEnvironment, of_name: dict[str, str]) -> None:
    """Declares Java functions: name in SQL -> class of the package headrace."""
    for name, java in of_name.items():
        table_env.execute_sql(f"CREATE TEMPORARY SYSTEM FUNCTION {name} AS 'headrace.{java}' LANGUAGE JAVA")


def operators() -> Any:
    """Returns what declares the steps of a job that SQL has no words for (udfs/jvm, Operators)."""
    return load_java_class("headrace.Operators").newInstance()


def execute(
    table_env: StreamTableEnvironment,
    statements: StatementSet,
    explain: bool,
    apart: str = "",
    source_uids: Mapping[str, str] = SOURCE_UIDS,
) -> None:
    """Starts the job, or prints its plan. The operator that calls the SQL function `apart` gets a thread of its own.

    A task waits while Python works on its batch. In one task with that function, the state before it would wait too.
    Each source and sink gets a uid by its table, so that its state outlives a change of the statements. source_uids:
    those that are given.
    """
    if explain:
        print(statements.explain())
        return
    statements.attach_as_datastream()
    env = StreamExecutionEnvironment(table_env._get_j_env())
    for operator in _operators(table_env._get_j_env().getTransformations()):
        description = operator.getDescription() or ""
        if source := SOURCE.match(operator.getName()):
            operator.setUid(source_uids.get(source[1], f"source_{source[1]}"))
        if sink := SINK.search(description):
            operator.setUid(f"sink_{sink[1]}")
        if apart and f"{apart}(" in description and operator.getName().startswith("Python"):
            operator.setChainingStrategy(_chaining().HEAD)
    env.execute_async(table_env.get_config().get("pipeline.name", ""))


def _operators(sinks: Any) -> list[Any]:
    return [operator for sink in sinks for operator in sink.getTransitivePredecessors()]


def _chaining() -> Any:
    return get_gateway().jvm.org.apache.flink.streaming.api.operators.ChainingStrategy


def contract_source(
    topic: str,
    schema: str,
    columns: str,
    kafka: Kafka,
    group: str,
    future_ms: int | None,
    table: str = "",
    start: str = "earliest-offset",
    bounded: bool = False,
    **options: str,
) -> str:
    """Returns the DDL of a topic's records as the format `contract` reads them (docs/flink-contract.md).

    schema: names the .avsc; columns: SQL of the fields that the job needs, `ts_ms` among them; table: its name in SQL,
    if it is not the topic's; start: Flink's scan.startup.mode; bounded: the table ends where the topic ends now.

    A refused record has no fields, but a reason and a detail. Event time is the broker's time. The watermark is a
    record's ts_ms, never later than the broker's clock, so no client can push it ahead. A record that is refused, or
    too far in the future, leaves it where it is. future_ms: None for a table whose watermark nobody reads; options: of
    the connector, such as `properties.isolation.level`.
    """
    watermark = f""",
          WATERMARK FOR append_ts AS CASE WHEN TO_TIMESTAMP_LTZ(ts_ms - {future_ms}, 3) <= append_ts
                THEN LEAST(TO_TIMESTAMP_LTZ(ts_ms, 3), append_ts) END"""
    more = "".join(f"'{name}' = '{value}', " for name, value in options.items())
    text = json.dumps(schemas.load(schema)).replace("'", "''")
    return f"""
        CREATE TEMPORARY TABLE `{table or topic}` (
          `key` BYTES, {columns},
          reason STRING METADATA FROM 'value.reason' VIRTUAL,
          detail STRING METADATA FROM 'value.detail' VIRTUAL,
          `value` BYTES METADATA FROM 'value.raw' VIRTUAL,
          `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL,
          append_ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL{watermark if future_ms is not None else ""}
        ) WITH (
          {_keyed("contract")}, 'value.contract.schema' = '{text}',
          {_startup(kafka, start, bounded)},
          'properties.group.id' = '{kafka.name(group)}', {more}{_connection(topic, kafka)})"""


def ahead(future_ms: int) -> dict[str, str]:
    """Returns the SQL of the rule `future` over ts_ms and append_ms: `ahead`, its condition, and `ahead_detail`."""
    limit = f"append_ms + {future_ms}"
    detail = f"'ts_ms: must be <= ' || CAST({limit} AS STRING)"
    detail += f" || ', the broker''s clock plus {future_ms}, got ' || CAST(ts_ms AS STRING)"
    return {"ahead": f"ts_ms > {limit}", "ahead_detail": detail}


def committed_source(topic: str, kafka: Kafka, group: str) -> str:
    """Returns the DDL of a topic's raw, committed records; event time and watermark are the broker's time."""
    return f"""
        CREATE TEMPORARY TABLE `{topic}` (
          `key` BYTES, `value` BYTES,
          `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL,
          append_ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
          WATERMARK FOR append_ts AS append_ts
        ) WITH (
          {_keyed("raw")},
          'scan.startup.mode' = 'earliest-offset', 'properties.isolation.level' = 'read_committed',
          'properties.group.id' = '{kafka.name(group)}', {_connection(topic, kafka)})"""


def sink(topic: str, columns: str, value_format: str, kafka: Kafka, job: str) -> str:
    """Returns the DDL of a topic written in transactions: after a checkpoint, readers see each record once."""
    return f"CREATE TEMPORARY TABLE `{topic}` ({columns}) WITH ({_keyed(value_format)}, {_written(topic, kafka, job)})"


def upsert_sink(topic: str, columns: str, key: str, kafka: Kafka, job: str, table: str = "") -> str:
    """Returns the DDL of a topic in which the last record of a key counts.

    key: names of columns, which the value has too; table: the table's name in SQL, if the job also reads the topic. The
    sink writes in transactions, so that nobody reads what a failed run wrote and no value steps back during a replay.
    It is not upsert-kafka, which writes a tombstone before each correction: insert no UPDATE_BEFORE into it.
    """
    keyed = f"'key.format' = 'json', 'key.fields' = '{key.replace(', ', ';')}', 'value.format' = 'json'"
    return f"CREATE TEMPORARY TABLE `{table or topic}` ({columns}) WITH ({keyed}, {_written(topic, kafka, job)})"


def dead_letter_sink(kafka: Kafka, job: str) -> str:
    columns = "`key` BYTES, `value` BYTES, headers MAP<STRING, BYTES> METADATA"
    return sink(topics.DEAD_LETTERS, columns, "raw", kafka, job)


def dead_letter(topic: str, append_ts: str, reason: str) -> str:
    """Returns the SQL of a dead letter: key, raw value and headers. append_ts, reason: the SQL of these headers.

    A compressed batch may have carried a record of any size past the broker. When a key or value is too large to pass
    again, the letter leaves it out; the headers still name the record's place. So a letter always fits its topic, also
    where nothing of it can be compressed.
    """
    # Columns in the order of the source. In another order the planner would not share the scan between branches.
    values = {"topic": f"'{topic}'", "partition": "`partition`", "offset": "`offset`"}
    values |= {"append_ts": append_ts, "reason": reason, "detail": "detail"}
    headers = ", ".join(f"'{name}', CAST(CAST({value} AS STRING) AS BYTES)" for name, value in values.items())
    return f"at_most(`key`, {MAX_KEY_BYTES}), at_most(`value`, {MAX_BYTES}), MAP[{headers}]"


def _startup(kafka: Kafka, start: str, bounded: bool) -> str:
    """Returns the options that say where a table begins and ends.

    kafka.from_time is the beginning of endless ones, but not of those that go on from what their group committed.
    """
    if bounded:
        return f"'scan.startup.mode' = '{start}', 'scan.bounded.mode' = 'latest-offset'"
    if start == "group-offsets" or (from_ms := kafka.from_ms()) is None:
        return f"'scan.startup.mode' = '{start}'"
    return f"'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '{from_ms}'"


def _keyed(value_format: str) -> str:
    return (
        "'key.format' = 'raw', 'key.fields' = 'key', 'value.fields-include' = 'EXCEPT_KEY',"
        f" 'value.format' = '{value_format}'"
    )


def _written(topic: str, kafka: Kafka, job: str) -> str:
    return f"""
        'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{kafka.name(job)}-{topic}',
        'properties.transaction.timeout.ms' = '{kafka.transaction_timeout_s * 1000}',
        'properties.compression.type' = 'gzip', 'properties.compression.gzip.level' = '1',
        'properties.max.request.size' = '{MAX_REQUEST_BYTES}',
        {_connection(topic, kafka)}"""


def _connection(topic: str, kafka: Kafka) -> str:
    quoted = {name: value.replace("'", "''") for name, value in kafka.properties().items()}
    properties = "".join(f", 'properties.{name}' = '{value}'" for name, value in quoted.items())
    return f"'connector' = 'kafka', 'topic' = '{kafka.name(topic)}'{properties}"
