"""The shop's file of items -> words on each for the towers to hash: docs/night.md, "Two towers"."""

from collections.abc import Iterator
from typing import Any

from headrace.infra.files.keyed_rows import Faults, keyed_rows, value_of
from headrace.infra.files.values import identifier, is_nobody, number
from headrace.jobs.batch.training import towers

ITEM, CATEGORY, PRICE = "item_id", "category", "price"  # every other column is a text


def read(path: str) -> tuple[dict[str, list[str]], Faults]:
    """Returns the tokens of each item, and what was left out of the file. path: a file, a folder or a glob.

    Raises HeadraceError if it cannot be read, or has no item_id.
    """
    faults, items = Faults(), dict[str, list[str]]()
    for row in keyed_rows(path, (ITEM,), faults):
        category, price = value_of(row, CATEGORY, identifier, faults), value_of(row, PRICE, number, faults)
        texts = [
            text for name, cell in row.cells.items() if name not in (ITEM, CATEGORY, PRICE) for text in words(cell)
        ]
        items.setdefault(row.ids[0], []).extend(towers.tokens(category, price, texts))
    return items, faults


def words(cell: Any) -> Iterator[str]:
    """Yields the texts in a cell, which in JSON and Parquet may hold others."""
    if isinstance(cell, dict | list | tuple):
        for part in cell.values() if isinstance(cell, dict) else cell:
            yield from words(part)
    elif not is_nobody(cell):
        yield str(cell)
