"""A file of item ids: one id a line, or a table with a column item_id, in any form that infra/files reads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.infra.errors import HeadraceError
from headrace.infra.files.lines import Damage, guess, lines, sample_of
from headrace.infra.files.open_table import PARQUET, ZIP, TableForm, table
from headrace.infra.files.streams import opened
from headrace.infra.files.values import identifier

COLUMN = "item_id"
BETWEEN = re.compile("[,;|\t]|::")
JSON = re.compile(r"\{|\[\s*(\{|$)")
SHOWN = 80


def ids(path: Path) -> list[str]:
    """Returns the ids as they stand, without blanks around them; none of an empty file.

    A text is UTF-8, or UTF-16: a guess at another encoding could unblock an item. Raises HeadraceError.
    """
    with opened(path) as (stream, _):
        sample, stream = sample_of(stream)
        encoding = guess(sample)
        encoding = encoding if encoding.startswith("utf-16") else "utf-8"
        text = sample.decode(encoding, "replace").removeprefix("\ufeff")
        first = next((line.strip() for line in text.split("\n") if line.strip()), "")
        if not (sample.startswith((PARQUET, ZIP)) or JSON.match(first) or _is_header(first)):
            found = [_unquoted(_whole(path, n, line)) for n, line in enumerate(lines(stream, encoding), 1)]
            named = [name for name in found if name]
            return named[1:] if _bare(first) == COLUMN else named
    return [name for name in _column(path, TableForm(encoding=encoding)) if name]


def _is_header(line: str) -> bool:
    """Returns whether a line names the columns of a table of more than one."""
    names = [_bare(cell) for cell in BETWEEN.split(line)]
    return len(names) > 1 and COLUMN in names


def _bare(name: str) -> str:
    return name.strip(' "\t\r').casefold()


def _unquoted(line: str) -> str:
    line = line.strip(" \t")
    is_quoted = len(line) > 1 and line[0] == line[-1] == '"'
    return line[1:-1].replace('""', '"').strip(" \t") if is_quoted else line


def _column(path: Path, form: TableForm) -> Iterator[str]:
    with table(path, form) as found:
        name = next((each for each in found.names or [] if _bare(each) == COLUMN), COLUMN)
        for number, row in enumerate(found.rows, 1):
            cells = _whole(path, number, row)
            if name not in cells:
                raise HeadraceError(f"{path}, row {number}: must have a column {COLUMN}, found {', '.join(cells)}")
            try:
                yield identifier(cells[name]).strip(" \t")
            except ValueError as error:
                raise HeadraceError(f"{path}, row {number}: {COLUMN} {error}") from None


def _whole(path: Path, number: int, row: Any) -> Any:
    """Returns a row, or raises HeadraceError if it is damaged. The rest of a detail names options of an import."""
    if isinstance(row, Damage):
        hint = "; save it as UTF-8" if row.reason == "encoding" else ""
        raise HeadraceError(f"{path}, row {number}: {row.detail.partition(';')[0]}, in {row.text[:SHOWN]!r}{hint}")
    return row
