"""Two towers without torch: a user's vector from what they took and what is known of them, by the tower's own weights.

A user with the strengths r (udfs/factors/confidence.py) of the items that they took has

    s = sum_i (r_i / |r|) t_i + mean of the rows of the user's features,    x = O tanh(H s + h) + o

over the last `history` items that the user named, as the tower was trained, and an item's score is x . v_i. t_i and v_i
are rows of two tables; jobs/batch/training/towers.py trains them, H, h, O and o. All is computed in float64, one user
after the other, so that a user has the same bits in every batch.

The reason of an item is the item of the user without which the score falls most: the score is no sum over the user's
items, so each is left out in turn (Robnik-Sikonja, Kononenko 2008, "Explaining classifications for individual
instances"). Without the only item, the features remain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.factors.confidence import NO_FEATURE, UNKNOWN, user_features
from headrace.udfs.factors.top_n import NONE, strongest
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.factor_scorer import FactorScorer

WEAKEST = 1e-150  # strength; the square of a weaker one may be 0, and a row of such alone has no length


class UserTower(NamedTuple):
    """Each field is a file of the model's folder."""

    taken: Real  # (items, f)
    features: Real  # (buckets, f); no rows if no user has features
    hidden: Real  # (h, f + 1): H, and h as the last column
    out: Real  # (f, h + 1): O, and o as the last column


class TowerScorer(FactorScorer):
    def __init__(self, items: Sequence[str], Y: Real, tower: UserTower, history: int) -> None:
        """Y (items, f): row i belongs to items[i]; history: items that a user's vector is made of, at most."""
        super().__init__(items, Y)
        self._history = history
        self._taken, self._features, hidden, out = map(np.asarray, tower)
        self._hidden, self._out = hidden.astype(np.float64), out.astype(np.float64)

    def user_vectors(self, past: Past) -> Float:
        known, rows = self._known(past), last(past, self._history, len(self.items))
        X = np.zeros((past.users, self.Y.shape[1]))
        for user in np.flatnonzero(np.diff(rows.indptr)).tolist():
            columns, weights = _taken(rows, user)
            X[user] = self._vectors(weights @ self._taken[columns].astype(np.float64) + known[user])
        return X

    def explain(self, past: Past, items: Int) -> Int:
        known, rows = self._known(past), last(past, self._history, len(self.items))
        why = np.full(items.shape, NONE, np.int64)
        for user in np.flatnonzero(np.diff(rows.indptr)).tolist():
            columns, weights = _taken(rows, user)
            taken = self._taken[columns].astype(np.float64)
            whole = self._vectors(weights @ taken + known[user])
            less = self._vectors(_without_each(taken, weights) + known[user])
            falls = (whole - less) @ self.Y[items[user]].T.astype(np.float64)  # (taken, c)
            why[user] = strongest(falls, columns, items[user])
        return why

    def sound(self) -> list[str]:
        faults, f = super().sound(), self.Y.shape[1]
        width = len(self._hidden)
        wanted = {"taken": self.Y.shape, "features": (len(self._features), f)}
        wanted |= {"hidden": (width, f + 1), "out": (f, width + 1)}
        for name, shape in wanted.items():
            table = getattr(self, f"_{name}")
            if table.shape != shape:
                faults.append(f"{name} must be {shape}, got {table.shape}")
            if not np.isfinite(table).all():
                faults.append(f"{name} must be finite, got NaN or infinite ones")
        return faults

    def _vectors(self, summed: Float) -> Float:
        """Returns x of s, (..., f)."""
        inner = np.tanh(summed @ self._hidden[:, :-1].T + self._hidden[:, -1])
        return np.asarray(inner @ self._out[:, :-1].T + self._out[:, -1])

    def _known(self, past: Past) -> Float:
        """Returns what the features add to s, (users, f)."""
        if not len(self._features):
            return np.zeros((past.users, self.Y.shape[1]))
        features = user_features(past.events, past.users)  # (users, kinds)
        says = features != NO_FEATURE
        rows = np.where(says[:, :, None], self._features[features % len(self._features)], 0.0)
        return np.asarray(rows.sum(axis=1) / np.maximum(says.sum(axis=1), 1)[:, None])


def last(past: Past, history: int, items: int) -> Rows:
    """Returns, of each user's row, the `history` items that the user's events name last."""
    rows, lengths = past.rows, np.diff(past.rows.indptr)
    if lengths.max(initial=0) <= history:
        return rows
    named = np.flatnonzero(past.events.items != UNKNOWN)
    cells = past.events.users[named] * items + past.events.items[named]
    found, at = np.unique(cells[::-1], return_index=True)
    owners = np.repeat(np.arange(past.users), lengths)
    place = named[len(named) - 1 - at[np.searchsorted(found, owners * items + rows.columns)]]
    newest_first = np.lexsort((-place, owners))
    kept = np.zeros(len(owners), bool)
    kept[newest_first[np.arange(len(owners)) - rows.indptr[owners] < history]] = True
    indptr = np.concatenate([[0], np.cumsum(np.minimum(lengths, history))]).astype(np.int64)
    return Rows(indptr, rows.columns[kept], rows.strengths[kept])


def _taken(rows: Rows, user: int) -> tuple[Int, Float]:
    """Returns the items of a user, and their strengths scaled to length 1."""
    here = slice(rows.indptr[user], rows.indptr[user + 1])
    strengths = np.maximum(rows.strengths[here], WEAKEST)
    return rows.columns[here], strengths / np.sqrt(strengths @ strengths)


def _without_each(taken: Float, weights: Float) -> Float:
    """Returns the sum of the user's items without each, the weights of the rest scaled to length 1, (taken, f)."""
    length = np.sqrt(_others(weights[:, None] ** 2))
    rest = _others(weights[:, None] * taken)
    return np.divide(rest, length, out=np.zeros_like(rest), where=length > 0)


def _others(rows: Float) -> Float:
    """Returns the sum of all rows but each. No sum minus a row: of a large and a small one, that keeps the large."""
    none = np.zeros((1, rows.shape[1]))
    before, after = np.cumsum(rows[:-1], axis=0), np.cumsum(rows[:0:-1], axis=0)[::-1]
    return np.asarray(np.concatenate([none, before]) + np.concatenate([after, none]))
