"""A node's own interactions, from a file or a database that never leaves it.

    shop.csv       a header that names user_id and item_id, then lines of clicks in any order
    shop.db        SQLite with a table `events` that has these columns; or `shop.db?table=purchases`

Items that the global model does not have are left out. Many clicks of a user on an item count as one.
"""

import csv
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from headrace.infra.errors import HeadraceError
from headrace.udfs.factors.als import Rows

SQLITE = (".db", ".sqlite", ".sqlite3")
Pair = tuple[str, str]  # user, item


def read(place: str, items: dict[str, int]) -> Rows:
    """The interactions, one row per user. items: the row of each item in the model.

    Raises HeadraceError if the file is missing or has other columns.
    """
    name, _, table = place.partition("?table=")
    path = Path(name)
    if not path.is_file():
        raise HeadraceError(f"--data must name an existing file, got {name!r}")
    pairs = _database(path, table or "events") if path.suffix in SQLITE else _file(path)
    return rows((user, items[item]) for user, item in pairs if item in items)


def _file(path: Path) -> Iterator[Pair]:
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if not {"user_id", "item_id"} <= set(reader.fieldnames or ()):
            raise HeadraceError(f"{path} must have columns user_id and item_id, got {reader.fieldnames}")
        for line in reader:
            yield line["user_id"], line["item_id"]


def _database(path: Path, table: str) -> Iterator[Pair]:
    if not table.isidentifier():
        raise HeadraceError(f"the table must be a plain name, got {table!r}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for user, item in database.execute(f"SELECT user_id, item_id FROM {table}"):
            yield str(user), str(item)


def rows(pairs: Iterable[tuple[str, int]]) -> Rows:
    """One sparse row per user, in the order of their ids, with strength 1 for each item."""
    distinct = sorted(set(pairs))
    users = np.array([user for user, _ in distinct], dtype=object)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.empty(0, np.int64)
    indptr = np.append(starts, len(distinct)).astype(np.int64)
    return Rows(indptr, np.array([item for _, item in distinct], np.int64), np.ones(len(distinct)))
