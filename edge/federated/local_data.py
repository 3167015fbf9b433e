"""A node's own interactions, from a file or a database that never leaves it.

    shop.csv       any usual table (infra/files) with columns user_id and item_id, clicks in any order
    shop.db        SQLite with a table `events` that has these columns; or `shop.db?table=purchases`

Items that the global model does not have are left out and counted, as are rows without a user. Many clicks of a user on
an item count as one. Ids are spelled as an import spells them.
"""

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from headrace.infra.errors import HeadraceError
from headrace.infra.files.keyed_rows import Faults, ids_of, keyed_rows
from headrace.udfs.factors.als import Rows

log = logging.getLogger(__name__)
SQLITE = (".db", ".sqlite", ".sqlite3")
PAIR = ("user_id", "item_id")
UNKNOWN = "rows of items that the model does not have"
Events = Iterator[tuple[int, tuple[str, ...]]]  # row, PAIR


def read(place: str, items: dict[str, int]) -> Rows:
    """The interactions, one row per user. items: the row of each item in the model.

    Raises HeadraceError if the file is missing or has other columns, or if no row of it is of an item of the model: an
    update of nothing would count in the quorum, and spend the node's budget.
    """
    name, _, table = place.partition("?table=")
    path, faults = Path(name), Faults()
    if not path.is_file():
        raise HeadraceError(f"--data must name an existing file, got {name!r}")
    is_database = path.suffix in SQLITE
    pairs = list(
        _known(_database(path, table or "events", faults) if is_database else _file(path, faults), items, faults)
    )
    if not pairs:
        known = ", ".join(map(repr, islice(items, 3)))
        raise HeadraceError(f"{name} must have rows of the model's items, such as {known}; got {faults or 'no rows'}")
    if faults:
        log.warning("%s: %d rows are used; left out: %s", name, len(pairs), faults)
    return rows(pairs)


def _known(events: Events, items: dict[str, int], faults: Faults) -> Iterator[tuple[str, int]]:
    for number, (user, item) in events:
        if item in items:
            yield user, items[item]
        else:
            faults.add(UNKNOWN, number, item)


def _file(path: Path, faults: Faults) -> Events:
    return ((row.number, row.ids) for row in keyed_rows(path, PAIR, faults))


def _database(path: Path, table: str, faults: Faults) -> Events:
    if not table.isidentifier():
        raise HeadraceError(f"the table must be a plain name, got {table!r}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.text_factory = _text
            for number, cells in enumerate(database.execute(f"SELECT {', '.join(PAIR)} FROM {table}"), 1):
                if ids := ids_of(dict(zip(PAIR, cells, strict=True)), PAIR, number, faults):
                    yield number, ids
    except sqlite3.Error as error:
        raise HeadraceError(f"{path} must be SQLite with a table {table} of {' and '.join(PAIR)}: {error}") from None


def _text(value: bytes) -> Any:
    """Returns text; bytes that are none stay bytes, which are no id."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def rows(pairs: Iterable[tuple[str, int]]) -> Rows:
    """One sparse row per user, in the order of their ids, with strength 1 for each item."""
    distinct = sorted(set(pairs))
    users = np.array([user for user, _ in distinct], dtype=object)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.empty(0, np.int64)
    indptr = np.append(starts, len(distinct)).astype(np.int64)
    return Rows(indptr, np.array([item for _, item in distinct], np.int64), np.ones(len(distinct)))
