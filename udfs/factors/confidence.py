"""The strengths r_ui that udfs/factors/als.py fits, from what users did: docs/collaborative.md, "Strength".

They depend on the given histories and on nothing else: ages count from each user's own newest event.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.schemas import enum
from headrace.udfs.factors.als import Float, Int, Rows
from headrace.udfs.factors.top_n import Excluded

ACTIONS = tuple(enum("click", "action"))
WEIGHTS = {"view": 1.0, "click": 1.5, "like": 3.0, "share": 3.0, "cart": 4.0, "purchase": 5.0}
RETURNS = {"purchase": ("refund",), "cart": ("uncart", "refund")}  # action -> those that take it back
RATE = 5.0  # weight of the best rating; other ratings weigh in proportion
RATE_WITHOUT_RATING = 3.0
STRENGTH_MAX = 250.0  # of a user for an item: 50 purchases. A bot's thousands of clicks are one user's wish, not more
REFUSALS = ("dislike", "block")
UNSEEN = ("search", "ignore")  # actions that do not make an item seen
UNKNOWN = -1  # index of an item that the model does not know
NO_FEATURE = -1  # an event says nothing of this kind about its user


class Events(NamedTuple):
    """Columns of n events. The events of one user are in arrival order."""

    users: Int  # 0 to the number of users - 1
    items: Int  # index in the model's item map, or UNKNOWN
    actions: Int  # index in ACTIONS
    ratings: Float  # NaN where there is none
    t_ms: Int
    features: Int | None = None  # (n, kinds), what each event says about its user, hashed, or NO_FEATURE

    def where(self, chosen: NDArray[np.bool_] | Int) -> "Events":
        """The chosen events: a mask (n,) or indices."""
        users, items, actions, ratings, t_ms, features = self
        rows = None if features is None else features[chosen]
        return Events(users[chosen], items[chosen], actions[chosen], ratings[chosen], t_ms[chosen], rows)


class Histories(NamedTuple):
    rows: Rows  # strengths > 0
    seen: Excluded  # items that no list of the user may hold


def histories(events: Events, users: int, items: int, half_life_ms: float, rating_max: float = 5.0) -> Histories:
    """Adds up the events of each user and item: one row of strengths per user, and the items each has seen.

    half_life_ms may be inf: then age plays no part. Raises ValueError unless half_life_ms > 0 and rating_max > 0.
    """
    for name, value in (("half_life_ms", half_life_ms), ("rating_max", rating_max)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    weights = event_weights(events, rating_max) * _recency(events, users, half_life_ms)
    known = events.items != UNKNOWN
    actions, t_ms, weights = events.actions[known], events.t_ms[known], weights[known]
    cells, cell = np.unique(events.users[known] * items + events.items[known], return_inverse=True)
    for action in RETURNS:
        weights[_taken_back(action, cell, actions, t_ms, len(cells))] = 0.0
    strengths: Float = np.minimum(np.bincount(cell, weights, len(cells)), STRENGTH_MAX).astype(np.float64)
    strengths[cell[_any(actions, REFUSALS)]] = 0.0
    seen = np.zeros(len(cells), bool)
    seen[cell[~_any(actions, UNSEEN)]] = True
    return Histories(_rows(cells, strengths, users, items), Excluded(*np.divmod(cells[seen], items)))


def user_features(events: Events, users: int) -> Int:
    """Each user's features: (users, kinds). Of each kind the last event that says one counts; else NO_FEATURE."""
    columns = np.empty((len(events.users), 0), np.int64) if events.features is None else events.features
    features = np.full((users, columns.shape[1]), NO_FEATURE, np.int64)
    for kind, column in enumerate(columns.T):
        says = column != NO_FEATURE
        features[events.users[says], kind] = column[says]
    return features


def event_weights(events: Events, rating_max: float) -> Float:
    """Returns what each event adds to its item's strength before it ages, (n,)."""
    weights = np.array([WEIGHTS.get(action, 0.0) for action in ACTIONS])[events.actions]
    rated = np.clip(events.ratings / rating_max, 0.0, 1.0) * RATE
    rated = np.where(np.isnan(rated), RATE_WITHOUT_RATING, rated)
    return np.where(_any(events.actions, ("rate",)), rated, weights)


def _recency(events: Events, users: int, half_life_ms: float) -> Float:
    newest = np.zeros(users, np.int64)
    np.maximum.at(newest, events.users, events.t_ms)
    return np.asarray(np.exp2(-(newest[events.users] - events.t_ms) / half_life_ms))


def _taken_back(action: str, cell: Int, actions: Int, t_ms: Int, cells: int) -> NDArray[np.bool_]:
    """Marks the events of the action that were taken back: k returns of an item by a user take back the k newest ones.

    Among events of the same time it does not matter which: they weigh the same.
    """
    given = np.flatnonzero(_any(actions, (action,)))
    order = given[np.lexsort((-t_ms[given], cell[given]))]
    rank = np.arange(len(order)) - np.searchsorted(cell[order], cell[order])
    returns = np.bincount(cell[_any(actions, RETURNS[action])], minlength=cells)
    taken = np.zeros(len(cell), bool)
    taken[order] = rank < returns[cell[order]]
    return taken


def _rows(cells: Int, strengths: Float, users: int, items: int) -> Rows:
    owners, columns = np.divmod(cells[strengths > 0], items)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=users))]).astype(np.int64)
    return Rows(indptr, columns, strengths[strengths > 0])


def _any(actions: Int, names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.isin(actions, [ACTIONS.index(name) for name in names])
