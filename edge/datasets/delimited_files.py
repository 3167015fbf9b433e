"""Delimited files as Arrow tables in time order. Columns stay packed; only a slice at a time becomes Python objects."""

import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from headrace.edge.datasets.columns import SLICE_ROWS, Click, Clicks, DatasetError, require

ROW = "row"  # number in the file, from 0


def read(path: Path, types: dict[str, pa.DataType], delimiter: str = ",", times: tuple[str, ...] = ()) -> pa.Table:
    """Reads the columns of `types`. times: formats of timestamps beside ISO 8601.

    Raises DatasetError if a column is missing or a value does not fit its type.
    """
    with _open(path) as file:
        header = file.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
    require(path, list(types), [name.strip('"') for name in header.split(delimiter)] if header else [])
    convert = csv.ConvertOptions(
        include_columns=list(types),
        column_types=types,
        strings_can_be_null=True,
        timestamp_parsers=[csv.ISO8601, *times],
    )
    # Tab-separated files have no quoting: their titles hold lone quotes.
    parse = csv.ParseOptions(delimiter=delimiter, quote_char='"' if delimiter == "," else False)
    try:
        with _open(path) as file:
            return csv.read_csv(file, parse_options=parse, convert_options=convert)
    except (pa.ArrowInvalid, lzma.LZMAError) as error:
        raise DatasetError(f"{path}: {str(error).splitlines()[0]}") from None


def in_time_order(table: pa.Table, ms: pa.ChunkedArray, as_clicks: Callable[..., Iterator[Click]]) -> Clicks:
    """Sorts a table by time. `as_clicks` takes equally long lists: row numbers, times in ms, then the columns."""
    rows = pa.array(range(table.num_rows), pa.int64())
    table = table.append_column("ms", ms).append_column(ROW, rows)
    table = table.sort_by([("ms", "ascending"), (ROW, "ascending")])
    names = [ROW, "ms", *[name for name in table.column_names if name not in (ROW, "ms")]]

    def slices() -> Iterator[list[Click]]:
        for start in range(0, table.num_rows, SLICE_ROWS):
            part = table.slice(start, SLICE_ROWS)
            yield list(as_clicks(*(part[name].to_pylist() for name in names)))

    return Clicks(table.num_rows, lambda n: cast(int, table["ms"][n].as_py()), slices)


def milliseconds(seconds: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds, as real numbers, in whole milliseconds."""
    return pc.cast(pc.multiply(pc.cast(seconds, pa.float64()), 1000), pa.int64())


def _open(path: Path) -> BinaryIO:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file, found none")
    return cast(BinaryIO, lzma.open(path) if path.suffix == ".xz" else open(path, "rb"))
