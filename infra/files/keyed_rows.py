"""Tables of items, of shoppers or of a device's events -> rows by their ids, spelled as an import spells them.

A row without an id costs that row, a value that does not fit costs the value; `Faults` counts both.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from headrace.infra.errors import HeadraceError
from headrace.infra.files.mapping import FIELDS
from headrace.infra.files.open_table import Damage, Row, table
from headrace.infra.files.streams import files
from headrace.infra.files.values import identifier, is_nobody, shown

T = TypeVar("T")


class Faults:
    """What a table cost: how often, and where first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: dict[str, None] = {}  # what was guessed of the file, in order
        self._first: dict[str, str] = {}

    def add(self, kind: str, row: int, value: Any) -> None:
        self.counts[kind] += 1
        self._first.setdefault(kind, f"row {row}, {shown(value)}")

    def __bool__(self) -> bool:
        return bool(self.counts or self.notes)

    def __str__(self) -> str:
        counted = (f"{kind}: {count:,} (first: {self._first[kind]})" for kind, count in self.counts.items())
        return "; ".join([*counted, *self.notes])


class KeyedRow(NamedTuple):
    number: int  # from 1, the header left out
    ids: tuple[str, ...]
    cells: Row


def keyed_rows(place: str | Path, names: tuple[str, ...], faults: Faults) -> Iterator[KeyedRow]:
    """Yields the rows that have an id in each of these columns. place: a file, a folder or a glob.

    Raises HeadraceError if a file cannot be read or has other columns, or if no row of it has its ids.
    """
    for path in files(place):
        with table(path) as found:
            if missing := [name for name in names if found.names is not None and name not in found.names]:
                raise HeadraceError(f"{path} must have a column {missing[0]}, got {', '.join(found.names or ())}")
            faults.notes |= dict.fromkeys(note.partition(";")[0] for note in found.notes)
            number = kept = 0
            for number, row in enumerate(found.rows, 1):
                if isinstance(row, Damage):
                    faults.add(f"rows that are none ({row.detail.partition(';')[0]})", number, row.text)
                elif ids := ids_of(row, names, number, faults):
                    kept += 1
                    yield KeyedRow(number, ids, row)
            if number and not kept:
                raise HeadraceError(
                    f"{path} must have rows with {' and '.join(names)}, got {number:,} others: {faults}"
                )


def value_of(row: KeyedRow, name: str, convert: Callable[[Any], T], faults: Faults) -> T | None:
    """Returns what a cell is as `convert` has it; None if it stands for no value, or does not fit."""
    value = row.cells.get(name)
    if is_nobody(value):
        return None
    try:
        return convert(value)
    except ValueError as error:
        faults.add(f"rows without their {name}, which {str(error).partition(',')[0]}", row.number, value)
        return None


def ids_of(cells: Row, names: tuple[str, ...], number: int, faults: Faults) -> tuple[str, ...]:
    """Returns the ids in these cells, or none if one is missing."""
    found: list[str] = []
    for name in names:
        value = cells.get(name)
        if is_nobody(value):
            faults.add(f"rows without {name}", number, value)
            return ()
        try:
            text = identifier(value)
        except ValueError:
            text = ""
        if not 0 < len(text) <= FIELDS[name]["maxLength"]:
            faults.add(f"rows whose {name} is no id", number, value)
            return ()
        found.append(text)
    return tuple(found)
