"""Live lists: recommendations from the recent events of users, under one version of the model (docs/collaborative.md).

The history that the JVM keeps has items but no ratings. So this stream names the item of an event by its rating, if it
has one, a colon, and the item id: `4.5:lamp-7`, `:lamp-7`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.schemas import enum
from headrace.schemas.lists import DECIMALS, Entry, Listed, encode
from headrace.udfs import history
from headrace.udfs.factors.als import Int
from headrace.udfs.factors.confidence import UNKNOWN, Events
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.history import Recent
from headrace.udfs.recommenders import contract
from headrace.udfs.recommenders.contract import LiveScorer

ACTIONS = tuple(enum("click", "action"))
_RATE = ACTIONS.index("rate")


class Serving(NamedTuple):
    """One version of the model, with what is known once for all lists."""

    version: str
    scorer: LiveScorer
    places: dict[str, int]  # of each item, named as in a history, without a rating
    allowed: Int  # places of the items that a list may hold, ascending
    half_life_ms: float
    rating_max: float

    @property
    def items(self) -> Sequence[str]:
        return self.scorer.items


def serving(version: str, scorer: LiveScorer, parameters: Mapping[str, Any], left_out: Collection[str] = ()) -> Serving:
    """Prepares a version. parameters: those of its manifest; left_out: as in `leaving_out`."""
    places = {named(item, None): place for place, item in enumerate(scorer.items)}
    half_life_ms, rating_max = parameters["half_life_ms"], parameters["rating_max"]
    whole = Serving(version, scorer, places, np.arange(len(scorer.items)), half_life_ms, rating_max)
    return leaving_out(whole, left_out) if left_out else whole


def leaving_out(serving: Serving, left_out: Collection[str]) -> Serving:
    """Returns the version with these items left out of its lists, and no others. They still count in a history."""
    absent = set(left_out)
    allowed = np.array([place for place, item in enumerate(serving.items) if item not in absent], np.int64)
    return serving._replace(allowed=allowed)


def named(item: str, rating: float | None) -> str:
    """The name of an item in a history of this stream."""
    return f":{item}" if rating is None else f"{rating!r}:{item}"


def unrated(recent: bytes) -> Recent:
    """Reads the packed events of one user, with the items' own ids."""
    items, actions, t_ms = history.decode(recent)
    return Recent([item.partition(":")[2] for item in items], actions, t_ms)


def lists(serving: Serving, recents: Sequence[bytes], as_of_ms: Sequence[int], n: int) -> list[bytes | None]:
    """The list of each user as JSON. None where the version knows no item of the history, or where no item is left.

    recents: packed as udfs/history.py reads them; as_of_ms: of each list; n: items per list.
    """
    past = contract.past(
        _events(serving, recents), len(recents), len(serving.items), serving.half_life_ms, serving.rating_max
    )
    items, unrounded, _ = serving.scorer.lists(past, n, serving.allowed)  # (users, n)
    why = serving.scorer.explain(past, items)  # (users, n)
    scores = np.round(unrounded, DECIMALS) + 0.0  # no -0.0
    rows = zip(items.tolist(), scores.tolist(), why.tolist(), strict=True)
    return [_json(serving, at_ms, zip(*row, strict=True)) for at_ms, row in zip(as_of_ms, rows, strict=True)]


def _json(serving: Serving, as_of_ms: int, entries: Iterable[tuple[int, float, int]]) -> bytes | None:
    """Encodes one list. entries: (index of an item, score, index of the item that is the reason)."""
    names = serving.items
    items = [
        Entry(names[item], score, None if reason == NONE else names[reason])
        for item, score, reason in entries
        if item != NONE
    ]
    return encode(Listed(serving.version, as_of_ms, items)) if items else None


def _events(serving: Serving, recents: Sequence[bytes]) -> Events:
    decoded = [history.decode(recent) for recent in recents]
    users = np.repeat(np.arange(len(recents)), [len(recent.items) for recent in decoded])
    actions = np.array([action for recent in decoded for action in recent.actions], np.int64)
    t_ms = np.array([t for recent in decoded for t in recent.t_ms], np.int64)
    items = [item for recent in decoded for item in recent.items]
    ratings = np.full(len(items), np.nan)
    for at in np.flatnonzero(actions == _RATE).tolist():
        rating, colon, item = items[at].partition(":")
        ratings[at], items[at] = float(rating or "nan"), colon + item
    places = np.array([serving.places.get(item, UNKNOWN) for item in items], np.int64)
    return Events(users, places, actions, ratings, t_ms)
