"""A file of the shop's history -> records of schemas/click.avsc as JSON, one per row, for the contract to judge.

The file is CSV (a header line, commas; .tsv: tabs), Parquet, JSON lines, or a data set that edge/datasets knows. If a
value does not fit its field, it stays as it is, so that the contract names it. An empty cell of a CSV is no value.
"""

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from headrace.edge.datasets import find, open_dataset
from headrace.infra.errors import HeadraceError
from headrace.schemas import load

KINDS = {str(field["name"]): field["type"] for field in load("click")["fields"]}
REQUIRED = ("user_id", "item_id", "action", "ts_ms")  # a row without event_id gets the file's hash and its number
ENDINGS = {".csv": ",", ".tsv": "\t", ".parquet": "", ".jsonl": "", ".ndjson": "", ".json": ""}
UNITS_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}  # of a numeric ts_ms, by --time
SLICE_ROWS = 10_000

Row = dict[str, Any]
Read = Callable[[Any], Any]


class Reading(NamedTuple):
    """How a file is read. columns: the column of a field, by field; other fields have columns of their own names."""

    columns: dict[str, str]
    defaults: dict[str, str]
    time: str  # of ts_ms: s, ms, us, iso, or a format of strptime, in UTC unless it says otherwise
    dataset: str = ""


def records(path: Path, reading: Reading, prefix: str) -> Iterator[bytes]:
    """Yields each row of the file as JSON, in its order. A row without event_id gets `{prefix}:{row}`.

    Raises HeadraceError for a file that cannot be read, an unknown field or a missing column.
    """
    if reading.dataset:
        yield from map(msgspec.json.encode, open_dataset(reading.dataset, path))
        return
    columns, rows = _open(path)
    readers = _readers(path, columns, reading)
    fixed = {name: _number(KINDS[name], value) for name, value in reading.defaults.items()}
    for n, row in enumerate(rows):
        if isinstance(row, bytes):  # a line that is no JSON
            yield row
            continue
        record = {"event_id": f"{prefix}:{n}"} | fixed
        for name, (column, read) in readers.items():
            if (value := row.get(column)) is not None and value != "":
                record[name] = read(value)
        yield msgspec.json.encode(record)


def place(path: Path, name: str) -> Path:
    """Returns the file; `path` may be the folder of a data set `name`. Raises HeadraceError if there is no file."""
    file = find(name, path) if name else path
    if not file.is_file():
        raise HeadraceError(f"{file} must be a file, found none")
    return file


def _readers(path: Path, columns: set[str] | None, reading: Reading) -> dict[str, tuple[str, Read]]:
    """Returns by field its column, and what turns a cell into a value. columns: None if each row has its own."""
    unknown = [name for name in (*reading.columns, *reading.defaults) if name not in KINDS]
    if unknown:
        raise HeadraceError(f"no field {unknown[0]!r} in a click; known: {', '.join(KINDS)}")
    wanted = {name: reading.columns.get(name, name) for name in KINDS}
    if columns is not None:
        _refuse_missing(path, columns, wanted, reading)
        wanted = {name: column for name, column in wanted.items() if column in columns}
    return {name: (column, _reader(name, reading.time)) for name, column in wanted.items()}


def _refuse_missing(path: Path, columns: set[str], wanted: dict[str, str], reading: Reading) -> None:
    """Raises HeadraceError for the first column that --map names, or that a field needs, and the file lacks."""
    needed = [*reading.columns, *(name for name in REQUIRED if name not in reading.defaults)]
    missing = [name for name in needed if wanted[name] not in columns]
    if missing:
        rule = f"{path} must have a column {wanted[missing[0]]!r} for {missing[0]}"
        raise HeadraceError(f"{rule}, found {', '.join(sorted(columns))}; --map {missing[0]}=COLUMN names another")


def _reader(name: str, time: str) -> Read:
    if name == "ts_ms":
        return lambda value: _ms(value, time)
    kind = KINDS[name]
    if isinstance(kind, list):
        kind = kind[1]
    return _text if kind not in ("long", "double") else lambda value: _number(kind, value)


def _text(value: Any) -> Any:
    """Returns an id as text. Ids may be numbers, and Parquet made by pandas has 17.0 where some are missing."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


def _number(kind: Any, value: Any) -> Any:
    """Returns the number in a value; a value that is no number stays as it is."""
    if isinstance(kind, list):
        kind = kind[1]
    try:
        number = float(value) if kind == "double" else int(value) if kind == "long" else value
    except (TypeError, ValueError):
        return value
    return value if isinstance(value, float) and number != value else number


def _ms(value: Any, time: str) -> Any:
    try:
        if time in UNITS_MS:
            return round(float(value) * UNITS_MS[time])
        moment = value if isinstance(value, datetime) else _moment(value, time)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return value


def _moment(text: Any, time: str) -> datetime:
    return datetime.fromisoformat(text) if time == "iso" else datetime.strptime(text, time)  # noqa: DTZ007  # UTC above


def _open(path: Path) -> tuple[set[str] | None, Iterator[Row | bytes]]:
    """Returns the names of the columns, or None if each row has its own, and the rows."""
    ending = path.suffixes[-2] if path.suffix in (".gz", ".xz") and len(path.suffixes) > 1 else path.suffix
    if ending not in ENDINGS:
        raise HeadraceError(f"{path} must end in {', '.join(ENDINGS)}, got {ending!r}")
    try:
        if ending == ".parquet":
            file = pq.ParquetFile(path)
            return set(file.schema_arrow.names), _rows(file.iter_batches(SLICE_ROWS))
        if ENDINGS[ending]:
            return _delimited(path, ENDINGS[ending])
    except pa.ArrowInvalid as error:
        raise HeadraceError(f"{path}: {str(error).splitlines()[0]}") from None
    return None, _lines(path)


def _delimited(path: Path, delimiter: str) -> tuple[set[str], Iterator[Row]]:
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    names = pa.csv.open_csv(path, parse_options=parse).schema.names
    text = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return set(names), _rows(pa.csv.open_csv(path, parse_options=parse, convert_options=text))


def _rows(batches: Any) -> Iterator[Row]:
    for batch in batches:
        yield from batch.to_pylist()


def _lines(path: Path) -> Iterator[Row | bytes]:
    with pa.input_stream(path) as file:
        for line in io.BufferedReader(file):
            try:
                row = msgspec.json.decode(line)
            except msgspec.DecodeError:
                row = None
            if not line.isspace():
                yield row if isinstance(row, dict) else line.rstrip(b"\n")
