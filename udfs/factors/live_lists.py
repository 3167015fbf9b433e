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
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Basis, Int, Objective, Real, Rows
from headrace.udfs.factors.confidence import UNKNOWN, Events, Histories, histories
from headrace.udfs.factors.top_n import NONE, Excluded, listed_top_n, longest, reasons
from headrace.udfs.history import Recent

ACTIONS = tuple(enum("click", "action"))
_RATE = ACTIONS.index("rate")


class Serving(NamedTuple):
    """One version of the model, with everything that is computed once for all lists."""

    version: str
    items: list[str]
    places: dict[str, int]  # index in `items` of each item, named as in a history, without a rating
    Y: Real  # (items, f)
    listed: Int  # (listed,), indices of the items that a list may hold, ascending
    shown: Real  # (listed, f), their rows of Y
    basis: Basis
    longest_y: float
    objective: Objective
    half_life_ms: float
    rating_max: float


def serving(
    version: str, items: list[str], Y: Real, parameters: Mapping[str, Any], left_out: Collection[str] = ()
) -> Serving:
    """Prepares a version. parameters: those of its manifest; left_out: as in `leaving_out`."""
    places = {named(item, None): place for place, item in enumerate(items)}
    objective = Objective(**parameters["objective"])
    Y = np.asarray(Y)  # numpy.memmap is a subclass of the array, and slow
    half_life_ms, rating_max = parameters["half_life_ms"], parameters["rating_max"]
    basis, longest_y, listed = als.basis(Y), longest(Y), np.arange(len(items))
    whole = Serving(version, items, places, Y, listed, Y, basis, longest_y, objective, half_life_ms, rating_max)
    return leaving_out(whole, left_out) if left_out else whole


def leaving_out(serving: Serving, left_out: Collection[str]) -> Serving:
    """Returns the version with these items left out of its lists, and no others. They still count in a history."""
    absent = set(left_out)
    listed = np.array([place for place, item in enumerate(serving.items) if item not in absent], np.int64)
    return serving._replace(listed=listed, shown=serving.Y[listed] if absent else serving.Y)


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
    events = _events(serving, recents)
    past = histories(events, len(recents), len(serving.items), serving.half_life_ms, serving.rating_max)
    users, past = _with_entries(past)
    values: list[bytes | None] = [None] * len(recents)
    if not len(users):
        return values
    X = als.solve(serving.basis, past.rows, serving.objective)  # (users, f)
    top = listed_top_n(X, serving.shown, serving.listed, n, past.seen, serving.longest_y)  # (users, n)
    why = reasons(serving.basis, past.rows, serving.objective, top.items)  # (users, n)
    scores = np.round(top.scores, DECIMALS) + 0.0  # no -0.0
    for row, user in enumerate(users.tolist()):
        entries = zip(top.items[row].tolist(), scores[row].tolist(), why[row].tolist(), strict=True)
        values[user] = _json(serving, as_of_ms[user], entries)
    return values


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


def _with_entries(past: Histories) -> tuple[Int, Histories]:
    """Keeps the users with at least one known item, and their histories.

    The others would have a vector of zeros, and their list would follow the order of the items in the model.
    """
    rows, seen = past
    users = np.flatnonzero(np.diff(rows.indptr))
    kept = np.isin(seen.users, users)
    excluded = Excluded(np.searchsorted(users, seen.users[kept]), seen.items[kept])
    indptr = rows.indptr[np.concatenate([[0], users + 1])]
    return users, Histories(Rows(indptr, rows.columns, rows.strengths), excluded)
