"""Live lists: what the recent events of users say under one version of the model (docs/collaborative.md).

The history that the JVM keeps knows items and no ratings, so what this stream calls the item of an event is its rating,
if it has one, a colon, and the item id: `4.5:lamp-7`, `:lamp-7`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headrace.schemas import enum
from headrace.udfs import history
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Basis, Int, Objective, Real, Rows
from headrace.udfs.factors.confidence import UNKNOWN, Events, Histories, histories
from headrace.udfs.factors.top_n import NONE, Excluded, listed_top_n, longest, reasons

ACTIONS = tuple(enum("click", "action"))
_RATE = ACTIONS.index("rate")
_DECIMALS = 7  # of a score: what machines could round differently lies beyond


class Serving(NamedTuple):
    """A version, made ready to be asked often."""

    version: str
    items: list[str]
    places: dict[str, int]  # of items named as in a history, without their rating
    Y: Real  # (items, f)
    listed: Int  # places of the items that a list may hold
    shown: Real  # their rows of Y
    basis: Basis
    longest_y: float
    objective: Objective
    half_life_ms: float
    rating_max: float


def serving(
    version: str, items: list[str], Y: Real, parameters: Mapping[str, Any], left_out: Sequence[str] = ()
) -> Serving:
    """parameters: those of the version's manifest. left_out: what no list may hold, however much it is wanted."""
    places = {named(item, None): place for place, item in enumerate(items)}
    objective = Objective(**parameters["objective"])
    Y = np.asarray(Y)  # a mapped file is a subclass, and slow
    half_life_ms, rating_max = parameters["half_life_ms"], parameters["rating_max"]
    absent = set(left_out)
    listed = np.array([place for place, item in enumerate(items) if item not in absent], np.int64)
    shown = Y[listed] if absent else Y
    basis, longest_y = als.basis(Y), longest(Y)
    return Serving(version, items, places, Y, listed, shown, basis, longest_y, objective, half_life_ms, rating_max)


def named(item: str, rating: float | None) -> str:
    return f":{item}" if rating is None else f"{rating!r}:{item}"


def lists(serving: Serving, recents: Sequence[bytes], as_of_ms: Sequence[int], n: int) -> list[bytes | None]:
    """The list of each user as JSON; None where nothing in the history is known to the version, or no item is left."""
    events = _events(serving, recents)
    known = histories(events, len(recents), len(serving.items), serving.half_life_ms, serving.rating_max)
    users, known = _with_entries(known)
    found: list[bytes | None] = [None] * len(recents)
    if not len(users):
        return found
    X = als.solve(serving.basis, known.rows, serving.objective)
    top = listed_top_n(X, serving.shown, serving.listed, n, known.seen, serving.longest_y)
    why = reasons(serving.basis, known.rows, serving.objective, top.items)
    scores = np.round(top.scores, _DECIMALS) + 0.0  # no -0.0
    for row, user in enumerate(users.tolist()):
        entries = zip(top.items[row].tolist(), scores[row].tolist(), why[row].tolist(), strict=True)
        found[user] = _json(serving, as_of_ms[user], entries)
    return found


def _json(serving: Serving, as_of_ms: int, entries: Iterable[tuple[int, float, int]]) -> bytes | None:
    """entries: (place of an item, score, place of the item that is the reason)."""
    names = serving.items
    items = [
        {"item": names[item], "score": score, "reason": None if reason == NONE else names[reason]}
        for item, score, reason in entries
        if item != NONE
    ]
    if not items:
        return None
    return msgspec.json.encode({"version": serving.version, "as_of_ms": as_of_ms, "items": items})


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


def _with_entries(known: Histories) -> tuple[Int, Histories]:
    """The users of whom something is known, and their histories: a vector of zeros would rank by place alone."""
    rows, seen = known
    users = np.flatnonzero(np.diff(rows.indptr))
    kept = np.isin(seen.users, users)
    excluded = Excluded(np.searchsorted(users, seen.users[kept]), seen.items[kept])
    indptr = rows.indptr[np.concatenate([[0], users + 1])]
    return users, Histories(Rows(indptr, rows.columns, rows.strengths), excluded)
