"""The business rules of lists, infra/config/rules.toml: which items are left out, caps of categories, diversity."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from headrace.infra.connections import NonNegative, Positive, Section
from headrace.infra.errors import SettingsError


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


class Rules(Section):
    block: Block
    stock: Stock
    category: Category
    diversity: Diversity

    @property
    def caps_categories(self) -> bool:
        return bool(self.category.at_most or self.category.limits)


def load(path: Path) -> Rules:
    try:
        rules = Rules.model_validate(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} must be TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors(include_url=False))
        raise SettingsError(f"{path}: {problems}") from None
    for key, file in (("block.file", rules.block.file), ("stock.file", rules.stock.file)):
        if file and not (path.parent / file).is_file():
            raise SettingsError(f"{path}: {key} must name an existing file, got {file!r}")
    return rules


def _sentence(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key {key}"
        case "missing":
            return f"{key} is missing"
    return f"{key}: {problem['msg'].replace('Input should', 'must')}, got {problem['input']!r}"


def left_out(rules: Rules, path: Path, items: Iterable[str]) -> tuple[str, ...]:
    """Returns those of the items that no list may hold, in their order. path: of the rules."""
    blocked = {*rules.block.items, *_ids(path, rules.block.file)}
    stocked = set(_ids(path, rules.stock.file)) if rules.stock.file else None
    return tuple(item for item in items if item in blocked or (stocked is not None and item not in stocked))


def _ids(path: Path, file: str) -> list[str]:
    return [line.strip() for line in (path.parent / file).read_text().splitlines() if line.strip()] if file else []
