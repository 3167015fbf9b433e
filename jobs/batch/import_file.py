"""Files of the shop's history -> the lake, by event day, judged by the same contract as Kafka's records.

source     any usual table with a mapping of its columns (infra/files), or a data set that edge/datasets knows
transform  infra/files/mapping.py, headrace.udfs.contract; a row from the future is one after the import's time
sink       table `clicks` of the lake; refused rows: its dead letters, and {home}/imports/{hash}-refused.jsonl

A file is known by its hash, so importing it once more changes nothing. Importing it with other options needs --again;
its new rows then replace those of the first time. Nothing of a file is in the lake until all of it is.

Run: headrace import visits.csv --preview
     headrace import visits.csv --map user_id=visitor,item_id=sku,ts_ms=at --default action=view
     headrace import ml-100k --dataset movielens
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from headrace.edge import datasets
from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.files import options, preview, streams
from headrace.infra.files.events import Adapt, events
from headrace.infra.files.lines import Damage
from headrace.infra.files.mapping import Mapping
from headrace.infra.progress import Meter
from headrace.infra.settings import load
from headrace.jobs.batch import night
from headrace.jobs.batch.lake import landed_rows
from headrace.jobs.batch.lake.tables import IMPORTED, STAGING, Files, Import, Lake, Snapshot, with_files
from headrace.jobs.batch.spark import session
from headrace.schemas.topics import CLICKS, DEAD_LETTERS

HASH = 12  # characters of a file's sha256 that name it
SLICE_ROWS = 10_000
RAW = pa.schema(
    [
        *(pa.field(name, pa.binary()) for name in ("key", "value")),
        pa.field("partition", pa.int32()),
        *(pa.field(name, pa.int64()) for name in ("offset", "append_ms")),
        *(pa.field(name, pa.string()) for name in ("reason", "detail")),  # of a row that the reader refused
    ]
)
Records = Iterator[bytes | Damage]


class Source(NamedTuple):
    """A file and how it is read."""

    path: Path
    mapping: Mapping
    dataset: str = ""

    def options(self) -> str:
        return msgspec.json.encode({"dataset": self.dataset, "mapping": self.mapping}, order="sorted").decode()


class Imported(NamedTuple):
    rows: int
    repeats: int
    refused: dict[str, int]  # by reason
    days: tuple[str, str]  # first and last

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    @property
    def events(self) -> int:
        return self.rows - self.repeats - self.refusals


def main(given: argparse.Namespace) -> None:
    texts = {option.name: getattr(given, option.name) for option in options.OPTIONS}
    mapping = options.mapping(texts, given.mapping)
    if given.dataset and mapping != Mapping():
        raise HeadraceError(f"--dataset {given.dataset} has a mapping of its own, got {options.line(mapping)} too")
    sources = [Source(path, mapping, given.dataset) for path in files(given.path, given.dataset)]
    if given.preview:
        for source in sources:
            for line in preview.show(source.path, _mapping(source)):
                print(line)
        return
    lake = Lake(session("import_file"))
    outcomes, failed = [], []
    for source in sources:
        try:
            if outcome := _brought(lake, source, given.again):
                outcomes.append(outcome)
        except HeadraceError as error:
            if len(sources) == 1:
                raise
            failed.append(error)
            print(f"headrace: {error}", file=sys.stderr)
    if len(sources) > 1:
        _sum(outcomes)
    if outcomes:
        print("a night that has landed does not see them: `headrace run land --date D --again`")
    if failed:
        raise HeadraceError(f"{len(failed)} of {len(sources)} files are not imported; the first: {failed[0]}")


def _sum(outcomes: list[Imported]) -> None:
    rows, repeats = sum(each.rows for each in outcomes), sum(each.repeats for each in outcomes)
    events, refused = sum(each.events for each in outcomes), sum(each.refusals for each in outcomes)
    print(f"{len(outcomes):,} files: {events:,} events of {rows:,} rows, {repeats:,} repeats, {refused:,} refused")


def files(given: list[str], dataset: str) -> list[Path]:
    """Returns the files at the given places, each once. A folder of a data set has its file by a usual name."""
    if dataset:
        found = [datasets.find(dataset, Path(place)) for place in given]
        if gone := next((path for path in found if not path.is_file()), None):
            raise HeadraceError(f"{gone} must be a file, found none")
        return found
    return list(dict.fromkeys(path for place in given for path in streams.files(place)))


def _mapping(source: Source) -> Mapping:
    reading = datasets.known(source.dataset, source.path) if source.dataset else None
    return reading.mapping if reading else source.mapping


def _brought(lake: Lake, source: Source, again: bool) -> Imported | None:
    """Imports a file and says what came of it; None if it is there already."""
    path, digest = source.path, durable.sha256(source.path)
    known = lake.snapshot().imports.get(digest)
    if known and not again:
        _same(source, known)
        print(f"{path} is imported already: {known.rows:,} events; nothing changes")
        return None
    outcome = bring(lake, source, digest, time.time_ns() // 1_000_000)
    counts = f"{outcome.repeats:,} repeats, {outcome.refusals:,} refused"
    print(f"{path}: {outcome.events:,} events of {outcome.rows:,} rows, {counts}; {' to '.join(outcome.days)}")
    if outcome.refused:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(outcome.refused.items()))
        print(f"refused: {counts}; see {_refused_path(digest)}")
    return outcome


def _same(source: Source, known: Import) -> None:
    if known.options != source.options():
        was = f"{source.path} is imported already, with other options ({known.options})"
        raise HeadraceError(f"{was}: --again replaces its rows")


def bring(lake: Lake, source: Source, digest: str, now_ms: int) -> Imported:
    """Brings a file into the lake, and returns what came of its rows.

    Raises HeadraceError, and changes nothing, if the file cannot be read to its end or all rows are refused.
    """
    label = f"{IMPORTED}{digest[:HASH]}"
    staged = f"{STAGING}/{label}-{now_ms}.parquet"
    told: list[str] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            with _reading(source, digest[:HASH], told) as records:
                count = stage(records, Path(folder) / "rows.parquet", now_ms)
            lake.store.take(Path(folder) / "rows.parquet", staged)
        written = lake.write(_judged(lake, staged, label), label)
    finally:
        lake.store.delete(staged)
    refused = _refused(lake, written, source.path, digest)
    rows = count - sum(refused.values())
    repeats = _repeats(lake, written, rows)
    if repeats:
        told.append(preview.repeats(repeats))
    for sentence in told:
        print(f"{source.path}: {sentence}")
    if not rows:
        lake.discard(written)
        raise HeadraceError(f"{source.path}: none of its {count:,} rows is an event: see {_refused_path(digest)}")
    known = Import(str(source.path), source.options(), rows - repeats, refused)
    lake.commit(lambda now: _imported(now, digest, known, label, written))
    days = [file.day for file in written[CLICKS]]
    return Imported(count, repeats, refused, (min(days), max(days)))


@contextmanager
def _reading(source: Source, prefix: str, told: list[str]) -> Iterator[Records]:
    """Opens a file with progress; when it is read, `told` has what that has cost."""
    mapping, adapt = source.mapping, None
    if source.dataset:
        reading = datasets.known(source.dataset, source.path)
        if reading is None:
            yield map(msgspec.json.encode, datasets.open_dataset(source.dataset, source.path))
            return
        mapping, adapt, prefix = reading.mapping, reading.adapt, source.dataset
    with _open(source.path, mapping, prefix, adapt, told) as records:
        yield records


@contextmanager
def _open(path: Path, mapping: Mapping, prefix: str, adapt: Adapt | None, told: list[str]) -> Iterator[Records]:
    with events(path, mapping, prefix, adapt) as found:
        with Meter(path.name, found.table.total, unit="rows", share=found.table.share_read) as meter:
            yield _counted(found.records, meter)
        told += preview.told(found)


def _counted(records: Records, meter: Meter) -> Records:
    for record in records:
        meter.done += 1
        yield record


def stage(records: Records, path: Path, now_ms: int) -> int:
    """Writes the rows as Parquet in the shape of Kafka's records, and returns how many."""
    count = 0
    with pq.ParquetWriter(path, RAW) as writer:
        while part := list(islice(records, SLICE_ROWS)):
            writer.write_batch(_batch(part, count, now_ms))
            count += len(part)
    return count


def _batch(records: list[bytes | Damage], first: int, now_ms: int) -> pa.RecordBatch:
    """Returns the rows as a batch. A row's offset is its number in the file; it has no partition."""
    rows = len(records)
    damaged = [record if isinstance(record, Damage) else None for record in records]
    columns = {"key": pa.nulls(rows, pa.binary()), "partition": pa.nulls(rows, pa.int32())}
    columns["value"] = [each.text.encode() if isinstance(each, Damage) else each for each in records]
    columns |= {"offset": range(first, first + rows), "append_ms": [now_ms] * rows}
    columns["reason"] = [each and each.reason for each in damaged]
    columns["detail"] = [each and each.detail for each in damaged]
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


def _repeats(lake: Lake, written: Files, rows: int) -> int:
    """Returns how many rows have the shopper and the event_id of another row."""
    if not rows:
        return 0
    known = lake.rows(CLICKS, written[CLICKS]).select("user_id", "event_id").distinct().count()
    return rows - int(known)


def _refused(lake: Lake, written: Files, path: Path, digest: str) -> dict[str, int]:
    """Returns how many rows were refused, by reason, and writes them to a file for people to read."""
    counts: Counter[str] = Counter()
    if letters := written.get(DEAD_LETTERS):
        told = _refused_path(digest)
        told.parent.mkdir(parents=True, exist_ok=True)
        with told.open("wb") as file:
            for row in lake.rows(DEAD_LETTERS, letters).orderBy("offset").toLocalIterator():
                counts[row.reason] += 1
                shown = {"file": str(path), "row": row.offset + 1, "reason": row.reason, "detail": row.detail}
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


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="+", help="files, folders or globs")
    parser.add_argument("--preview", action="store_true", help="show what the file would bring, and change nothing")
    parser.add_argument("--mapping", type=Path, metavar="FILE", help=options.MAPPING_HELP)
    for option in options.OPTIONS:
        parser.add_argument(option.flag, metavar=option.metavar, help=option.help.replace("%", "%%"))
    parser.add_argument("--dataset", default="", help=f"{', '.join(datasets.DATASETS)}, or module:NAME of your own")
    parser.add_argument("--again", action="store_true", help="replace the rows of an earlier import of the file")
    return parser


if __name__ == "__main__":
    night.run(main, arguments())
