"""Lines -> the cells of a row. Every line is in a row or in a damaged row: a quote that nobody closes costs its row.

RFC 4180 says what a quoted cell is. Real files break it: a title begins with a quote, or ends with one. A line that has
the right number of cells with its quotes as plain characters is read so, if it is no quoted row.
"""

import csv
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from headrace.infra.errors import HeadraceError
from headrace.infra.files.lines import MAX_BYTES, Damage

DELIMITERS = ("::", "\t", ";", "|", ",")
LOOKED_AT = 20  # lines that tell the delimiter
LONGEST = 1_000  # lines of one quoted cell
NAMED = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "::": "`::`", " ": "spaces"}
SPELLED = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
ENOUGH = 4  # cells; a row of fewer is no proof that a line is a row

QUOTED = re.compile('"[^"]*"')

csv.field_size_limit(2 * MAX_BYTES)
Lines = Iterator[str | Damage]


class Dialect(NamedTuple):
    delimiter: str
    quote: str  # empty: quotes are plain characters
    blanks: bool = False  # after each delimiter, which are no part of a cell

    def named(self) -> str:
        return NAMED.get(self.delimiter, repr(self.delimiter))


def dialect(first: list[str], ending: str, delimiter: str, quote: str | None) -> Dialect:
    """Returns the dialect of a file from its first lines, where the caller does not say it."""
    delimiter = SPELLED.get(delimiter, delimiter) or _delimiter(first, ending)
    header = (first or [""])[0].split(delimiter)
    if quote is None:  # tab-separated files have no quoting, unless their header has: their titles hold lone quotes
        is_quoted = all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header)
        quote = '"' if len(delimiter) == 1 and (delimiter != "\t" or is_quoted) else ""
    if quote and (len(delimiter) > 1 or len(quote) > 1):
        raise HeadraceError(f"--quote needs one character, and a --delimiter of one, got {quote!r} and {delimiter!r}")
    blanks = delimiter != " " and len(header) > 1 and all(cell.startswith(" ") for cell in header[1:])
    return Dialect(delimiter, quote, blanks)


def _delimiter(first: list[str], ending: str) -> str:
    if ending in (".tsv", ".tab"):
        return "\t"
    counted = {each: [line.count(each) for line in first[:LOOKED_AT]] for each in DELIMITERS}
    header = QUOTED.sub("", (first or [""])[0])
    even = [each for each, counts in counted.items() if counts and min(counts) == max(counts) > 0]
    some = [each for each, counts in counted.items() if counts and counts[0] > 0]
    found = even + [each for each in some if header.count(each) > max(map(header.count, even), default=0)]
    return max(found or some or [","], key=header.count)


def rows(lines: Lines, dialect: Dialect, width: int = 0, more: bool = False) -> Iterator[list[str] | Damage]:
    """Yields the cells of each row; empty lines are no rows.

    width: cells of a row; 0: as many as the first has. more: a row may have more than that.
    """
    ahead: list[str | Damage] = []
    delimiter, quote = dialect.delimiter, dialect.quote
    lines = iter(lines)
    while True:
        line = ahead.pop(0) if ahead else next(lines, None)
        if line is None:
            return
        if isinstance(line, Damage):
            yield line
            continue
        if not line or (line.isspace() and delimiter not in line):
            continue
        if not quote or quote not in line:
            cells = line.split(delimiter)
            if dialect.blanks:
                cells = [cell.lstrip(" ") for cell in cells]
        elif (one := _strict([line], dialect)) and (not width or len(one) == width):
            cells = one
        else:
            row = _quoted(line, dialect, width, ahead, lines)
            if isinstance(row, Damage):
                yield row
                continue
            cells = row
        if more and len(cells) >= width:
            yield cells
            continue
        if width and len(cells) > width and not any(cells[width:]):
            cells = cells[:width]
        if width and len(cells) != width:
            yield Damage("row", f"must have {width} cells, found {len(cells)}", line)
            continue
        width = width or len(cells)
        yield cells


def _strict(parts: list[str], dialect: Dialect, escape: str | None = None) -> list[str] | None:
    """Returns the cells of the one row that these lines are by RFC 4180, or None."""
    try:
        found = list(
            csv.reader(
                parts,
                delimiter=dialect.delimiter,
                quotechar=dialect.quote,
                escapechar=escape,
                skipinitialspace=dialect.blanks,
                strict=True,
            )
        )
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else None


def _quoted(line: str, dialect: Dialect, width: int, ahead: list[str | Damage], rest: Lines) -> list[str] | Damage:
    """Returns the row that begins with a line which is none by itself; what it takes of `ahead` and `rest` is gone."""
    whole = _over_lines(line, dialect, width, ahead, rest)
    if whole is not None:
        return whole
    escaped = _strict([line], dialect, "\\")
    if escaped and (not width or len(escaped) == width):
        return escaped
    plain = line.split(dialect.delimiter)
    if len(plain) == width:
        return plain
    if strict := _strict([line], dialect):
        return strict  # of another width
    detail = f"a cell must end with the quote that begins it, in a row of {width or 'some'} cells"
    return Damage("quote", f"{detail}; --quote '' reads quotes as plain characters", line)


def _over_lines(line: str, dialect: Dialect, width: int, ahead: list[str | Damage], rest: Lines) -> list[str] | None:
    """Returns the row whose quoted cells go on over the next lines, or None; then it has taken none of them."""
    if line.count(dialect.quote) % 2 == 0:
        return None
    parts, size = [line], len(line)
    for n, more in enumerate(chain(list(ahead), _kept(rest, ahead))):
        size += len(more) if isinstance(more, str) else MAX_BYTES
        if isinstance(more, Damage) or n >= LONGEST or size > MAX_BYTES:
            return None
        parts.append(more)
        if more.count(dialect.quote) % 2 == 0:
            continue
        found = _strict([f"{part}\n" for part in parts], dialect)
        if found is None or (width and len(found) != width) or _are_rows(parts, dialect, width):
            return None
        del ahead[: n + 1]
        return found
    return None


def _kept(rest: Lines, ahead: list[str | Damage]) -> Lines:
    """Yields further lines, and keeps each in `ahead`."""
    for more in islice(rest, LONGEST + 1):
        ahead.append(more)
        yield more


def _are_rows(parts: list[str], dialect: Dialect, width: int) -> bool:
    """Returns whether each line is a row by itself: then two lone quotes look like one cell of many lines."""
    split = [part.split(dialect.delimiter) for part in parts]
    prose = any(cell.startswith(" ") for cells in split[1:] for cell in cells[1:])
    return width >= ENOUGH and not prose and all(len(cells) == width for cells in split)
