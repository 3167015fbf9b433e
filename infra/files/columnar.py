"""Parquet and workbooks -> rows. A value that a person would call text or a day becomes that."""

import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from headrace.infra.errors import HeadraceError
from headrace.infra.files.lines import Damage, Row

BATCH_ROWS = 10_000


def parquet(path: Path, stream: IO[bytes]) -> tuple[list[str], int, Iterator[Row | Damage]]:
    """Returns the names of the columns, how many rows there are, and the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise HeadraceError(f"{path} must be Parquet: {str(error).splitlines()[0]}") from None
    repair = {field.name: _repair(field.type) for field in file.schema_arrow}
    needed = {name: change for name, change in repair.items() if change}

    def rows() -> Iterator[Row | Damage]:
        try:
            for batch in file.iter_batches(BATCH_ROWS):
                for row in _plain_rows(batch):
                    for name, change in needed.items() if isinstance(row, dict) else ():
                        row[name] = change(row[name])
                    yield row
        except (pa.ArrowException, OSError) as error:
            raise HeadraceError(f"{path} is damaged: {str(error).splitlines()[0]}") from None

    return list(file.schema_arrow.names), file.metadata.num_rows, rows()


def _plain_rows(batch: Any) -> list[Any]:
    """Returns the rows of a batch. A value that Python cannot hold, such as a date of year 10000, costs its row."""
    try:
        rows: list[Any] = batch.to_pylist()
    except Exception:  # OverflowError, UnicodeDecodeError, pytz's own
        rows = [_plain_row(batch, n) for n in range(batch.num_rows)]
    return rows


def _plain_row(batch: Any, number: int) -> Row | Damage:
    row: Row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[number].as_py()
        except Exception as error:
            return Damage("value", f"{name}: must be a value that can be read, got {type(error).__name__}: {error}")
    return row


def _repair(kind: Any) -> Callable[[Any], Any] | None:
    """Returns what makes a value of this type plain, or None. Impala and Hive write text without its mark."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _repair(kind.value_type)
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return _identifier
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _text
    if "uuid" in str(kind):
        return lambda value: None if value is None else str(value)
    return None


def _text(value: bytes | None) -> Any:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _identifier(value: bytes | None) -> Any:
    """A UUID has 16 bytes; so has some text."""
    text = _text(value)
    return text if text is None or (isinstance(text, str) and text.isprintable()) else str(uuid.UUID(bytes=value))


def workbook(path: Path, stream: IO[bytes], sheet: str, notes: list[str]) -> tuple[list[str], Iterator[Row | Damage]]:
    """Returns the header and the rows below it, of one sheet or of all that have the first one's header."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise HeadraceError(f"{path} is a workbook: `pip install openpyxl` reads it; or save it as CSV") from None
    try:
        book = load_workbook(stream, read_only=True, data_only=True)
    except Exception as error:  # a damaged zip, XML or style, each with an error of its own
        raise HeadraceError(f"{path} must be an Excel workbook: {error}") from None
    if sheet and sheet not in book.sheetnames:
        raise HeadraceError(f"{path} must have a sheet {sheet!r}, found {', '.join(book.sheetnames)}")
    sheets = [book[sheet]] if sheet else book.worksheets
    for each in sheets:
        each.reset_dimensions()  # what other programs write there may be too small
    begun = {each.title: _header(each) for each in sheets}
    names = next((header for header in begun.values() if header), [])
    if not names:
        raise HeadraceError(f"{path} must have a header in its first row, found an empty sheet")
    taken = [each for each in sheets if begun[each.title] == names]
    for each in sheets:
        if each not in taken and begun[each.title]:
            notes.append(f"sheet {each.title!r} has other columns and is not read")
    return names, _whole_sheets(path, taken, names)


def _whole_sheets(path: Path, sheets: list[Any], names: list[str]) -> Iterator[Row | Damage]:
    try:
        for sheet in sheets:
            yield from _rows(sheet, names)
    except (ValueError, SyntaxError, KeyError, EOFError) as error:  # XML's ParseError is a SyntaxError
        raise HeadraceError(f"{path} is damaged: {error}") from None


def _header(sheet: Any) -> list[str]:
    first = next((row for row in sheet.iter_rows(values_only=True) if any(cell is not None for cell in row)), ())
    names = ["" if cell is None else str(cell) for cell in first]
    while names and not names[-1]:
        names.pop()
    return names


def _rows(sheet: Any, names: list[str]) -> Iterator[Row | Damage]:
    filled = (row for row in sheet.iter_rows(values_only=True) if any(cell is not None for cell in row))
    for row in islice(filled, 1, None):
        if any(cell is not None for cell in row[len(names) :]):
            yield Damage("row", f"must have {len(names)} cells, found {len(row)}", repr(row))
        else:
            yield dict(zip(names, row, strict=False))
