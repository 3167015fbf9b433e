"""A file of the shop's history -> the lake, by event day, judged by the same contract as Kafka's records.

source     CSV, Parquet or JSON lines with a mapping of columns, or a data set that edge/datasets knows
transform  jobs/batch/lake/event_files.py, headrace.udfs.contract; a row from the future is one after the import's time
sink       table `clicks` of the lake; refused rows: its dead letters, and {home}/imports/{hash}-refused.jsonl

A file is known by its hash, so importing it once more changes nothing. Importing it with other options needs --again;
its new rows then replace those of the first time.

Run: headrace run import_file visits.csv --map user_id=visitor,item_id=sku,ts_ms=at --default action=view
     headrace run import_file ml-100k --dataset movielens
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from headrace.edge.datasets import DATASETS
from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.jobs.batch import night
from headrace.jobs.batch.lake import event_files, landed_rows
from headrace.jobs.batch.lake.event_files import SLICE_ROWS, Reading
from headrace.jobs.batch.lake.tables import IMPORTED, STAGING, Files, Import, Lake, Snapshot, with_files
from headrace.jobs.batch.spark import session
from headrace.schemas.topics import CLICKS, DEAD_LETTERS

HASH = 12  # characters of a file's sha256 that name it
RAW = pa.schema(
    [
        *(pa.field(name, pa.binary()) for name in ("key", "value")),
        pa.field("partition", pa.int32()),
        *(pa.field(name, pa.int64()) for name in ("offset", "append_ms")),
    ]
)


def main(options: argparse.Namespace) -> None:
    reading = Reading(options.map, options.default, options.time, options.dataset)
    path = event_files.place(Path(options.path), options.dataset)
    digest, lake = durable.sha256(path), Lake(session("import_file"))
    known = lake.snapshot().imports.get(digest)
    if known and not options.again:
        _same(path, known, reading)
        print(f"{path} is imported already: {known.rows} events; nothing changes")
        return
    rows, refused = bring(lake, path, digest, reading, time.time_ns() // 1_000_000)
    print(f"{path}: {rows} events of {rows + sum(refused.values())} rows")
    if refused:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        print(f"refused: {counts}; see {_refused_path(digest)}")
    print("a night that has landed does not see them: `headrace run land --date D --again`")


def _same(path: Path, known: Import, reading: Reading) -> None:
    if known.options != _options(reading):
        was = f"{path} is imported already, with other options ({known.options})"
        raise HeadraceError(f"{was}: --again replaces its rows")


def _options(reading: Reading) -> str:
    return msgspec.json.encode(reading._asdict(), order="sorted").decode()


def bring(lake: Lake, path: Path, digest: str, reading: Reading, now_ms: int) -> tuple[int, dict[str, int]]:
    """Returns how many events came into the lake, and the refused rows by reason.

    Raises HeadraceError, and changes nothing, if all rows are refused.
    """
    label = f"{IMPORTED}{digest[:HASH]}"
    staged = f"{STAGING}/{label}-{now_ms}.parquet"
    try:
        with tempfile.TemporaryDirectory() as folder:
            count = stage(event_files.records(path, reading, digest[:HASH]), Path(folder) / "rows.parquet", now_ms)
            lake.store.take(Path(folder) / "rows.parquet", staged)
        written = lake.write(_judged(lake, staged, label), label)
    finally:
        lake.store.delete(staged)
    refused = _refused(lake, written, digest)
    rows = count - sum(refused.values())
    if not rows:
        lake.discard(written)
        raise HeadraceError(f"{path}: none of its {count} rows is an event: see {_refused_path(digest)}")
    known = Import(str(path), _options(reading), rows, refused)
    lake.commit(lambda now: _imported(now, digest, known, label, written))
    return rows, refused


def stage(values: Iterator[bytes], path: Path, now_ms: int) -> int:
    """Writes the rows as Parquet in the shape of Kafka's records, and returns how many."""
    count = 0
    with pq.ParquetWriter(path, RAW) as writer:
        while part := list(islice(values, SLICE_ROWS)):
            writer.write_batch(_batch(part, count, now_ms))
            count += len(part)
    return count


def _batch(values: list[bytes], first: int, now_ms: int) -> pa.RecordBatch:
    """Returns the rows as a batch. A row's offset is its number in the file; it has no partition."""
    rows = len(values)
    columns = {"key": pa.nulls(rows, pa.binary()), "value": values, "partition": pa.nulls(rows, pa.int32())}
    columns |= {"offset": range(first, first + rows), "append_ms": [now_ms] * rows}
    return pa.RecordBatch.from_pydict(columns, RAW)


def _judged(lake: Lake, staged: str, label: str) -> DataFrame:
    future_ms = load().session.future_ms

    def judge(batches: landed_rows.Batches) -> landed_rows.Batches:
        for batch in batches:
            rows = landed_rows.row_batch(CLICKS, batch, future_ms, source=label)
            # No broker saw the row, so it counts as having arrived when it happened.
            arrived = rows.schema.get_field_index("append_ms")
            yield rows.set_column(arrived, "append_ms", pc.coalesce(rows["t_ms"], rows["append_ms"]))

    rows = lake.spark.read.parquet(lake.store.uri(staged)).mapInArrow(judge, landed_rows.columns(CLICKS))
    return rows.repartition("day")  # one file a day


def _refused(lake: Lake, written: Files, digest: str) -> dict[str, int]:
    """Returns how many rows were refused, by reason, and writes them to a file for people to read."""
    counts: Counter[str] = Counter()
    if letters := written.get(DEAD_LETTERS):
        path = _refused_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for row in lake.rows(DEAD_LETTERS, letters).orderBy("offset").toLocalIterator():
                counts[row.reason] += 1
                shown = {"row": row.offset, "reason": row.reason, "detail": row.detail}
                value = bytes(row.value).decode(errors="replace")
                file.write(msgspec.json.encode(shown | {"value": value}) + b"\n")
    return dict(counts)


def _refused_path(digest: str) -> Path:
    return paths.home() / "imports" / f"{digest[:HASH]}-refused.jsonl"


def _imported(now: Snapshot, digest: str, known: Import, label: str, written: Files) -> Snapshot:
    """Returns the lake with the file's rows in place of those of an earlier import of it."""
    every = [file for files in now.files.values() for file in files]
    before = [file for file in every if file.path.rpartition("/")[2].startswith(label)]
    return with_files(msgspec.structs.replace(now, imports=now.imports | {digest: known}), written, before)


def pairs(text: str) -> dict[str, str]:
    """Reads A=B,C=D."""
    values = dict(part.partition("=")[::2] for part in text.split(","))
    if not all(values) or not all(values.values()):
        raise argparse.ArgumentTypeError(f"must be FIELD=VALUE,..., got {text!r}")
    return values


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="the file, or the folder of a data set")
    parser.add_argument("--map", type=pairs, default={}, metavar="FIELD=COLUMN,...", help="columns of other names")
    parser.add_argument("--default", type=pairs, default={}, metavar="FIELD=VALUE,...", help="for rows without one")
    parser.add_argument(
        "--time", default="iso", help="format of ts_ms: s, ms, us, iso, or a pattern such as %%d/%%m/%%Y %%H:%%M"
    )
    parser.add_argument("--dataset", default="", help=f"{', '.join(DATASETS)}, or module:NAME of your own")
    parser.add_argument("--again", action="store_true", help="replace the rows of an earlier import of the file")
    return parser


if __name__ == "__main__":
    night.run(main, arguments())
