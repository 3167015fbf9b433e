"""Raw records -> rows of the lake, each for its own table, or for the dead letters with a reason.

udfs/contract.py judges Arrow batches in one pass. A row has the columns of both kinds, those of the other kind NULL. So
a batch is read, judged and written once, and no record takes two paths or none.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.jobs.batch.lake import tables
from headrace.schemas import load, topics
from headrace.udfs import event_time
from headrace.udfs.contract import Contract, Fault

DAY_MS = 86_400_000
REFUSED = ("reason", "detail")
LETTER = "topic STRING, reason STRING, detail STRING, key BINARY, value BINARY"
TYPES = {"string": pa.string(), "long": pa.int64(), "double": pa.float64(), "enum": pa.string()}
Batches = Iterator[pa.RecordBatch]


def columns(table: str) -> str:
    """Returns the DDL of the rows that `judge` gives."""
    return f"table STRING, day DATE, {tables.COLUMNS[table]}, {LETTER}"


def judge(table: str, future_ms: int) -> Callable[[Batches], Batches]:
    """Returns a function for mapInArrow over (key, value, partition, offset, append_ms)."""

    def judged(batches: Batches) -> Batches:
        for batch in batches:
            yield row_batch(table, batch, future_ms)

    return judged


def row_batch(table: str, batch: pa.RecordBatch, future_ms: int, source: str | None = None) -> pa.RecordBatch:
    """Returns the rows of a batch of records. source: what a dead letter calls its topic, if not the table.

    A batch may have columns reason and detail: where they are not null, the reader has refused the row already.
    """
    contract = Contract.of(tables.RECORDS[table])
    values, faults = contract.columns(batch["value"].to_pylist())
    if "reason" in batch.schema.names:
        values, faults = _refused_before(values, faults, batch)
    fields = dict(zip(contract.fields, values, strict=True))
    append_ms = batch["append_ms"].to_numpy(zero_copy_only=False)
    t_ms = event_time.times(fields["ts_ms"], append_ms, future_ms, faults)
    refused = np.array([fault is not None for fault in faults], bool)
    days = np.where(refused, append_ms, t_ms) // DAY_MS
    row: dict[str, Any] = {
        "table": np.where(refused, topics.DEAD_LETTERS, table),
        "day": pa.array(days.astype(np.int32), pa.int32()).cast(pa.date32()),
    }
    for name, arrow_type in types(table).items():  # the mask matters for a record from the future, which is whole
        row[name] = pa.array(fields[name], arrow_type, mask=refused)
    row["t_ms"] = pa.array(t_ms, pa.int64(), mask=refused)
    row |= {name: batch[name] for name in ("append_ms", "partition", "offset")}
    row["topic"] = pa.array(np.full(len(faults), source or table), pa.string(), mask=~refused)
    for name in ("reason", "detail"):
        row[name] = pa.array([fault and getattr(fault, name) for fault in faults], pa.string())
    for name in ("key", "value"):
        row[name] = pc.if_else(pa.array(refused), batch[name], pa.scalar(None, pa.binary()))
    return pa.RecordBatch.from_pydict(row)


def _refused_before(values: list[Any], faults: list[Fault | None], batch: pa.RecordBatch) -> tuple[list[Any], Any]:
    before = [Fault(*pair) if pair[0] else None for pair in zip(*(batch[n].to_pylist() for n in REFUSED), strict=True)]
    values = [tuple(None if known else each for each, known in zip(one, before, strict=True)) for one in values]
    return values, [known or fault for known, fault in zip(before, faults, strict=True)]


def types(table: str) -> dict[str, pa.DataType]:
    """Returns the Arrow type of each field of the table's schema."""
    return {field["name"]: _arrow(field["type"]) for field in load(tables.RECORDS[table])["fields"]}


def _arrow(avro_type: Any) -> pa.DataType:
    if isinstance(avro_type, list):
        return _arrow(avro_type[1])
    if isinstance(avro_type, dict):
        return pa.list_(_arrow(avro_type["items"])) if avro_type["type"] == "array" else TYPES[avro_type["type"]]
    return TYPES[avro_type]
