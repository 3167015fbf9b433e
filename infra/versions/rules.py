"""The business rules of lists, infra/config/rules.toml: which items are left out, caps of categories, diversity.

A version keeps those of its items that are left out as of its making. Whoever writes lists obeys what the files say
then: `read` gives it, and a long-running program follows it (infra/versions/followed_rules.py).
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from headrace.infra.connections import NonNegative, Positive, Section
from headrace.infra.errors import HeadraceError, SettingsError
from headrace.infra.versions import item_ids

BLOCK, STOCK = "block.file", "stock.file"


class Block(Section):
    items: tuple[str, ...]
    file: str


class Stock(Section):
    file: str


class Category(Section):
    at_most: NonNegative
    limits: dict[str, NonNegative]


class Diversity(Section):
    trade_off: Annotated[float, Field(ge=0, le=1, alias="lambda")]
    max_similarity: Annotated[float, Field(ge=-1, le=1)]
    candidates: Positive


class ItemRules(NamedTuple):
    """Which items no list may hold."""

    blocked: frozenset[str] = frozenset()
    stocked: frozenset[str] | None = None  # None: all are in stock

    def forbids(self, item: str) -> bool:
        return item in self.blocked or (self.stocked is not None and item not in self.stocked)

    def left_out(self, items: Iterable[str]) -> tuple[str, ...]:
        """Returns those of the items that no list may hold, in their order."""
        return tuple(item for item in items if self.forbids(item))


class Rules(Section):
    block: Block
    stock: Stock
    category: Category
    diversity: Diversity

    @property
    def caps_categories(self) -> bool:
        return bool(self.category.at_most or self.category.limits)


def load(path: Path) -> Rules:
    """Returns the rules. Raises SettingsError, also if a file that they name is missing."""
    rules = parse(path)
    for key, file in files(rules, path).items():
        if not file.is_file():
            raise SettingsError(f"{path}: {key} must name an existing file, got {str(file)!r}")
    return rules


def parse(path: Path) -> Rules:
    """Returns the rules, whether or not the files that they name are there."""
    try:
        return Rules.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} must be TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors(include_url=False))
        raise SettingsError(f"{path}: {problems}") from None


def _sentence(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {key}"
        case "missing":
            return f"{key} is missing"
    return f"{key}: {problem['msg'].replace('Input should', 'must')}, got {problem['input']!r}"


def files(rules: Rules, path: Path) -> dict[str, Path]:
    """Returns the files of items that the rules name, by key. path: of the rules."""
    named = {BLOCK: rules.block.file, STOCK: rules.stock.file}
    return {key: path.parent / file for key, file in named.items() if file}


def read(path: Path) -> ItemRules:
    """Returns what the rules and their files say now. Raises HeadraceError or OSError with the file's name."""
    return _read(path)[0]


def of_version(path: Path, items: Sequence[str]) -> tuple[str, ...]:
    """Returns those of a version's items that no list may hold.

    Raises HeadraceError if a file names no item of the version, or if no item is left: a column, the spelling of ids or
    the file itself is wrong then.
    """
    found, named = _read(path)
    for key, (file, ids) in named.items():
        _check(path, key, file, ids, items)
    left_out = found.left_out(items)
    if items and len(left_out) == len(items):
        raise HeadraceError(f"{path} must leave items to list, but it leaves out all {len(items):,} of the version")
    return left_out


def in_stock(path: Path, items: Sequence[str]) -> ItemRules:
    """As `read`. Raises HeadraceError if the stock file names no item of a version: its lists would be empty."""
    found, named = _read(path)
    if STOCK in named:
        _check(path, STOCK, *named[STOCK], items)
    return found


def _read(path: Path) -> tuple[ItemRules, dict[str, tuple[Path, list[str]]]]:
    """Returns the rules of items, and each file with its ids, by key."""
    rules = load(path)
    named = {key: (file, item_ids.ids(file)) for key, file in files(rules, path).items()}
    stocked = None
    if STOCK in named:
        file, ids = named[STOCK]
        if not ids:
            raise HeadraceError(f"{path}: {STOCK} must name the items in stock, found none in {file}")
        stocked = frozenset(ids)
    blocked = named[BLOCK][1] if BLOCK in named else []
    return ItemRules(frozenset(rules.block.items).union(blocked), stocked), named


def _check(path: Path, key: str, file: Path, ids: Sequence[str], items: Sequence[str]) -> None:
    if ids and items and set(ids).isdisjoint(items):
        rule = f"{key} must name items of the version, such as {items[0]!r}"
        raise HeadraceError(f"{path}: {rule}; found {len(ids):,} other ids in {file}, such as {ids[0]!r}")
