"""Values by their paths in a row: `a.b` is nested, `items[].id` is in each element of a list."""

import ast
import json
import re
from typing import Any

from headrace.infra.files.lines import Row
from headrace.infra.files.values import shown

EACH = "[]"
ADJACENT = re.compile(r"""['"]\s+['"]""")  # Python would join such texts to one


def is_there(paths: str, names: list[str]) -> bool:
    """Returns whether one of the paths, such as `a.b|c`, can be in rows with these columns."""
    return any(path in names or path.partition(".")[0].removesuffix(EACH) in names for path in paths.split("|"))


def find(row: Row, part: Any, path: str) -> Any:
    """Returns the value at a path, or None. A column of that very name comes first. part: an element of the list."""
    if path in row:
        return row[path]
    if EACH in path:
        rest = path.partition(EACH)[2].removeprefix(".")
        return part if not rest else _at(part, rest)
    return _at(row, path) if "." in path else None


def elements(row: Row, path: str) -> list[Any]:
    """Returns the elements of a list; text that spells one, as some CSV have it, is one.

    Raises ValueError for a text that begins as a list and is none.
    """
    found = row.get(path, _at(row, path))
    if isinstance(found, str) and found.startswith("["):
        found = _list_of(found)
    return found if isinstance(found, list) else []


def _list_of(text: str) -> Any:
    """Returns the list that a text spells, in JSON or as Python prints it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        if not ADJACENT.search(text):
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise ValueError(f"must be a list such as ['a', 'b'], got {shown(text)}")


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
