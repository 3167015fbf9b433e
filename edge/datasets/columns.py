"""What every loader gives, and the errors that they share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Click = dict[str, Any]
SLICE_ROWS = 10_000  # turned into Python objects at a time


class DatasetError(ValueError):
    """The file is not the one the loader knows."""


@dataclass(frozen=True)
class Clicks:
    """The clicks of a file in time order; iterating again begins again."""

    rows: int
    ms_at: Callable[[int], int]  # event time of the n-th click, from 0
    slices: Callable[[], Iterator[list[Click]]]
    made_up: str = ""  # what the file does not say and the loader invents

    def __iter__(self) -> Iterator[Click]:
        for clicks in self.slices():
            yield from clicks


def require(path: Path, expected: Sequence[str], found: Sequence[str]) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        want, lack, have = (", ".join(names) for names in (expected, missing, found))
        raise DatasetError(f"{path} must have the columns {want}; it lacks {lack}, found {have or 'none'}")
