"""What every loader returns, and the errors that they share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.infra.errors import HeadraceError

Click = dict[str, Any]
SLICE_ROWS = 10_000  # rows that become Python objects at a time


class DatasetError(HeadraceError, ValueError):
    """The file is not the one that the loader reads."""


@dataclass(frozen=True)
class Clicks:
    """The clicks of a file in time order; those of equal times in the file's. Each iteration begins from the start."""

    rows: int
    ms_at: Callable[[int], int]  # event time of the n-th click, from 0
    slices: Callable[[], Iterator[list[Click]]]
    made_up: str = ""  # what the loader invents, because the file does not have it
    left_out: dict[str, int] = field(default_factory=dict)  # rows that are no clicks, by rule
    told: list[str] = field(default_factory=list)  # what reading has cost or guessed, in sentences

    def __iter__(self) -> Iterator[Click]:
        for clicks in self.slices():
            yield from clicks


def require(path: object, expected: Sequence[str], found: Sequence[str]) -> None:
    """Raises DatasetError unless the file has the expected columns."""
    missing = [name for name in expected if name not in found]
    if missing:
        want, lack, have = (", ".join(names) for names in (expected, missing, found))
        raise DatasetError(f"{path} must have the columns {want}; it lacks {lack}, found {have or 'none'}")
