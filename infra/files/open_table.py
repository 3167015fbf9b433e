"""A file of any usual form -> its rows in order, each as {column: value}, or what is wrong with it. Constant memory.

    >>> with table(Path("visits.csv.gz"), TableForm()) as visits:                                # doctest: +SKIP
    ...     print(visits.form, visits.names)
    ...     for row in visits.rows: ...

Forms: delimited text (commas, tabs, semicolons, bars, `::`), JSON (an object a line, an array, objects over lines),
Parquet, Excel; plain or packed by gzip, bzip2, xz, zstd or zip. A file's first bytes say which; its ending helps for
text alone. Cells of text are text as they stand; no cell is turned into a number here.
"""

import codecs
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from headrace.infra.errors import HeadraceError
from headrace.infra.files import columnar, delimited, json_text
from headrace.infra.files.lines import SAMPLE_BYTES, Damage, Row, guess, lines, sample_of
from headrace.infra.files.streams import ending, opened

__all__ = ["Damage", "OpenTable", "Row", "TableForm", "table"]
PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
JSON_BEGINS = re.compile(r'\s*(\[\s*[\{\]]|\{\s*["}])')
PARTITION = re.compile(r"(?:^|/)([A-Za-z_]\w*)=([^/]+)")
SEPARATOR = re.compile(r"sep=(.)\r?$", re.MULTILINE)  # Excel's first line
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
WRITTEN_ELSEWHERE = {b"\xd0\xcf\x11\xe0": "an Excel file of before 2007", b"%PDF": "a PDF", b"SQLite": "a database"}


class TableForm(NamedTuple):
    """What a caller knows of a file; the rest is guessed and told. columns: their names, if the file has no header."""

    columns: tuple[str, ...] = ()
    delimiter: str = ""
    quote: str | None = None
    encoding: str = ""
    sheet: str = ""


GUESSED = TableForm()
REST = "[]"  # at the end of the last of `columns`: it takes all further cells, as a list


@dataclass
class OpenTable:
    """An open file. names: of the columns; None if each row has its own, as in JSON. notes: what was guessed."""

    path: Path
    form: str
    names: list[str] | None
    rows: Iterator[Row | Damage]
    raw: IO[bytes]
    notes: list[str] = field(default_factory=list)
    total: int | None = None  # rows, where the file says it
    first: list[str] = field(default_factory=list)  # cells of the first line of delimited text

    def share_read(self) -> float:
        """Returns how much of the file's bytes is read, from 0 to 1."""
        size = self.path.stat().st_size
        return min(self.raw.tell() / size, 1.0) if size and not self.raw.closed else 1.0


@contextmanager
def table(path: Path, given: TableForm = GUESSED) -> Iterator[OpenTable]:
    """Opens a file. Raises HeadraceError, also while its rows are read, if it is of no form known here or is cut."""
    with opened(path) as (stream, raw), ExitStack() as closing:
        sample, stream = sample_of(stream) if stream is not raw else (_peeked(raw), raw)
        if stream is not raw and sample.startswith((PARQUET, ZIP)):
            stream = closing.enter_context(_seekable(stream))
        yield _with_folders(_opened(path, given, sample, stream, raw))


def _with_folders(found: OpenTable) -> OpenTable:
    """Adds the columns that the names of folders hold, as Hive and Spark write them: day=2026-01-02/part-0.csv."""
    known = dict(PARTITION.findall(found.path.parent.as_posix()))
    held = {name: value for name, value in known.items() if name not in (found.names or ())}
    if held:
        plain = found.rows
        found.rows = (row if isinstance(row, Damage) else {**held, **row} for row in plain)
        found.names = found.names and [*found.names, *held]
    return found


def _peeked(raw: IO[bytes]) -> bytes:
    sample = raw.read(SAMPLE_BYTES)
    raw.seek(0)
    return sample


def _opened(path: Path, given: TableForm, sample: bytes, stream: IO[bytes], raw: IO[bytes]) -> OpenTable:
    notes: list[str] = []
    if sample.startswith(PARQUET):
        names, total, rows = columnar.parquet(path, stream)
        return OpenTable(path, "Parquet", names, rows, raw, notes, total)
    if sample.startswith(ZIP):
        names, cells = columnar.workbook(path, stream, given.sheet, notes)
        return OpenTable(path, "Excel", names, cells, raw, notes)
    _refuse_other_forms(path, sample)
    encoding = _encoding(given.encoding, sample) if given.encoding else guess(sample)
    if not given.encoding and encoding != "utf-8":
        notes.append(f"the encoding is {encoding}, by its first bytes; --encoding says another")
    text = sample.decode(encoding, "replace").removeprefix("\ufeff")
    begin = text.lstrip()[:1]
    if JSON_BEGINS.match(text) if _is_table(path, given) else begin in ("{", "[") or ending(path) in JSON_ENDINGS:
        if json_text.is_lines(text):
            return OpenTable(path, "JSON lines", None, json_text.rows(lines(stream, encoding)), raw, notes)
        form = "a JSON array" if begin == "[" else "JSON objects"
        return OpenTable(path, form, None, json_text.elements(stream, encoding), raw, notes)
    return _delimited(path, given, text, lines(stream, encoding), raw, notes)


@contextmanager
def _seekable(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Parquet and workbooks are read from their ends; packed ones are unpacked into a file first."""
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file)
        file.seek(0)
        yield file


def _is_table(path: Path, given: TableForm) -> bool:
    """Returns whether a caller or the ending says that a text is delimited: its first cell may begin with a bracket."""
    return bool(given.columns or given.delimiter) or ending(path) in (".csv", ".tsv", ".tab")


def _encoding(name: str, sample: bytes) -> str:
    """Returns an encoding as Python calls it. Raises HeadraceError for one that there is not."""
    try:
        found = codecs.lookup(name)
    except LookupError:
        found = None
    if found is None or not getattr(found, "_is_text_encoding", True):
        raise HeadraceError(f"--encoding must be that of a text, such as cp1252, got {name!r}")
    if found.name in ("utf-16", "utf-32"):
        guessed = guess(sample)
        return guessed if guessed.startswith(found.name) else f"{found.name}-le"
    return found.name


def _refuse_other_forms(path: Path, sample: bytes) -> None:
    for begin, what in WRITTEN_ELSEWHERE.items():
        if sample.startswith(begin):
            raise HeadraceError(f"{path} must be text, Parquet or .xlsx, got {what}")
    if not sample:
        raise HeadraceError(f"{path} must have rows, got an empty file")


def _delimited(
    path: Path, given: TableForm, text: str, found: Iterator[str | Damage], raw: IO[bytes], notes: list[str]
) -> OpenTable:
    first = [line.rstrip("\r") for line in text.split("\n")[: delimited.LOOKED_AT] if line.strip()]
    said = given.delimiter
    if separator := SEPARATOR.match(text):
        next(found)
        first, said = first[1:], said or separator[1]
    dialect = delimited.dialect(first[:-1] or first, ending(path), said, given.quote)
    if not given.delimiter and dialect.delimiter != {".csv": ",", ".tsv": "\t"}.get(ending(path)):
        notes.append(f"cells end with {dialect.named()}, by the first lines; --delimiter says another")
    rest = bool(given.columns) and given.columns[-1].endswith(REST)
    cells = delimited.rows(found, dialect, len(given.columns), rest)
    names = list(given.columns)
    begun = next(delimited.rows(iter(first), dialect), None)
    if not names:
        header = next(cells, None)
        if not isinstance(header, list):
            raise HeadraceError(f"{path} must begin with the names of its columns: {_why(header)}")
        names = [name.strip() for name in header]
    if rest:
        names[-1] = names[-1].removesuffix(REST)
        cells = (each if isinstance(each, Damage) else _gathered(each, len(names)) for each in cells)
    rows = (each if isinstance(each, Damage) else dict(zip(names, each, strict=True)) for each in cells)
    kept = begun if isinstance(begun, list) else []
    return OpenTable(path, f"text with {dialect.named()}", names, rows, raw, notes, first=kept)


def _gathered(cells: list[str], width: int) -> Any:
    return [*cells[: width - 1], [cell for cell in cells[width - 1 :] if cell]]


def _why(header: Damage | None) -> str:
    return header.detail if header else "found no row"
