"""What every family of models satisfies: the night trains, judges and publishes by it, the stream asks by it.

A `Family` is one file and one line in the settings, night.models: a name of jobs/batch/families, or `module:NAME`. It
trains a folder and opens it again. The files of the folder are its own, beside those of infra/versions/model_files.py.

The laws, which tests/jobs/batch/families/laws.py checks for any family. An item is its place in `items`.

- `lists`: best first, by (score descending, item ascending); distinct, of `allowed`, none that the user has seen; NONE
  and -inf at the end. A user of whom nothing is known has no item.
- `score` of a listed item is its score in the list. `explain` names an item of the user's rows, or NONE.
- An answer for a user does not depend on the other users who are asked for, to the last bit.
- `similar` leaves the item itself out, and holds scores above 0 alone.
- `live` answers as `load` does, or how much worse it is is measured: the gate's live.loss.
- `sound` finds numbers that are not finite, and files that do not fit each other.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.factors.confidence import Events, histories
from headrace.udfs.factors.top_n import NONE, Excluded, Top

Bool = NDArray[np.bool_]


class Past(NamedTuple):
    """What is known of some users."""

    events: Events  # `users` from 0 on, each user's in order; `items` are places, or UNKNOWN
    users: int
    rows: Rows  # (users, items): strengths > 0 (udfs/factors/confidence.py)
    seen: Excluded  # what no list of the user may hold


class Lists(NamedTuple):
    items: Int  # (users, k), best first, NONE at the end
    scores: Float  # (users, k), -inf at NONE
    known: Bool  # (users,): whether anything is known of the user; who is not known gets a popular list

    def filled(self, popular: "Lists") -> Int:
        """Returns what readers get: the popular items where nothing is known of a user, or no item is left."""
        some = self.known & (self.items[:, 0] != NONE)
        return np.where(some[:, None], self.items, popular.items)


class LiveScorer(Protocol):
    """What the stream and the SDK ask: it needs numpy and the standard library alone."""

    @property
    def items(self) -> Sequence[str]: ...

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        """Returns the k best of each user. allowed: places that a list may hold, ascending."""
        ...

    def explain(self, past: Past, items: Int) -> Int:
        """Returns, for items (users, c), the one of the user's rows that adds most to each score; NONE if none adds."""
        ...


class Recommender(LiveScorer, Protocol):
    """What the night asks."""

    def score(self, past: Past, items: Int) -> Float:
        """Returns the scores of items (users, c), also of those that the user has seen; 0 of unknown users' items."""
        ...

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        """Returns the k items most like each of `items`, (items, k), NONE at the end."""
        ...

    def vectors(self) -> Real | None:
        """Returns (items, f) if a score is the product of a user's vector and a row of it; else None."""
        ...

    def sound(self) -> list[str]:
        """Returns what is wrong with the model; nothing if it may be judged."""
        ...


class TrainingData(Protocol):
    """What a family may learn from: the night's events, without those that are held out. It reads what is asked for."""

    @property
    def items(self) -> list[str]:
        """The ids of the items of the events, in code point order."""
        ...

    @property
    def events(self) -> Any:
        """The events, a DataFrame of Spark, with the columns of the lake."""
        ...

    def rows(self) -> Rows:
        """Returns the strengths, (users, items), users by user_id."""
        ...

    def features(self) -> Int:
        """Returns what the events say about each user, hashed, (users, kinds), as udfs/factors/confidence.py has it."""
        ...

    def sequences(self) -> Events:
        """Returns the events of all users, each user's in order."""
        ...


class TrainingOutcome(NamedTuple):
    """What a training says of itself."""

    items: list[str]  # in code point order, once
    parameters: dict[str, Any]  # that `load` reads, and those of the training
    dims: Mapping[str, int] = MappingProxyType({})  # such as factors
    lineage: Mapping[str, Any] = MappingProxyType({})  # what else it was made from


class Family(NamedTuple):
    settings: type  # a Section of infra/settings.py, of which each setting has a default
    # (data, settings, folder to fill, folder of an earlier model of the family, which has not seen more)
    train: Callable[[TrainingData, Any, Path, Path | None], TrainingOutcome]
    load: Callable[[Path], Recommender]
    live: Callable[[Path], LiveScorer]


def past(events: Events, users: int, items: int, half_life_ms: float, rating_max: float) -> Past:
    """Returns what is known of users 0 to `users` - 1. Raises ValueError as udfs/factors/confidence.py does."""
    return Past(events, users, *histories(events, users, items, half_life_ms, rating_max))
