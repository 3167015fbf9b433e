"""A recommender whose score is a sum: of what each item of the user's rows says about the others.

Row j of a sparse matrix W (items, items) holds what taking j adds to the scores of others: score(u, i) is the sum over
the user's items j of weight(r_uj) W_ji. A family gives W. Nothing is as large as users x items.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import NONE, Top
from headrace.udfs.recommenders.contract import Lists, Past

CELLS = 1 << 22  # scores in memory at a time: 32 MiB


class Weights(NamedTuple):
    """Sparse rows (CSR): row j holds columns[indptr[j]:indptr[j + 1]], ascending, and their values."""

    indptr: Int  # (m + 1,)
    columns: NDArray[np.integer[Any]]  # (entries,)
    values: Real  # (entries,)


class _Sums(NamedTuple):
    """The items that the users' rows say anything about: pairs by user, then item."""

    users: Int
    items: Int
    scores: Float


class NeighbourScorer:
    def __init__(self, items: Sequence[str], weights: Weights, by_strength: bool = False) -> None:
        """by_strength: an item counts by its strength, else each counts alike."""
        self.items, self.by_strength = items, by_strength
        indptr, columns, values = weights
        self.weights = Weights(np.asarray(indptr), np.asarray(columns), np.asarray(values))

    def vectors(self) -> Real | None:
        return None

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        sums, m = self._sums(past), len(self.items)
        may = np.zeros(m, bool)
        may[allowed] = True
        pairs = sums.users * m + sums.items
        left = (sums.scores > 0) & may[sums.items] & ~np.isin(pairs, past.seen.users * m + past.seen.items)
        top = best(_Sums(*(column[left] for column in sums)), past.users, k)
        known = np.bincount(sums.users[sums.scores > 0], minlength=past.users) > 0
        return Lists(*top, known)

    def score(self, past: Past, items: Int) -> Float:
        sums, m = self._sums(past), len(self.items)
        pairs, asked = sums.users * m + sums.items, np.arange(past.users)[:, None] * m + items
        at = np.minimum(np.searchsorted(pairs, asked), max(len(pairs) - 1, 0))
        if not len(pairs):
            return np.zeros(items.shape)
        return np.where(pairs[at] == asked, sums.scores[at], 0.0)

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        owners, columns, values = self._entries(items)
        may = np.zeros(len(self.items), bool)
        may[allowed] = True
        left = may[columns] & (values > 0) & (columns != items[owners])
        return best(_Sums(owners[left], columns[left], values[left]), len(items), k)

    def explain(self, past: Past, items: Int) -> Int:
        why = np.full(items.shape, NONE, np.int64)
        rows, m = past.rows, len(self.items)
        at, columns, values = self._entries(rows.columns)
        users = np.repeat(np.arange(past.users), np.diff(rows.indptr))[at]
        values = values * self._factors(past)[at]
        asked = np.where(items == NONE, -1, np.arange(past.users)[:, None] * m + items)
        wanted = np.isin(users * m + columns, asked) & (values > 0)
        pairs, most, reasons = (users * m + columns)[wanted], values[wanted], rows.columns[at[wanted]]
        order = np.lexsort((reasons, -most, pairs))
        first = order[np.diff(pairs[order], prepend=-1) != 0]
        if len(first):
            place = np.minimum(np.searchsorted(pairs[first], asked), len(first) - 1)
            why = np.where(pairs[first][place] == asked, reasons[first][place], NONE)
        return why

    def sound(self) -> list[str]:
        indptr, columns, values = self.weights
        m, faults = len(self.items), []
        if len(indptr) != m + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(columns):
            faults.append(f"weights must have a row for each of {m} items, got {len(indptr) - 1}")
        if len(columns) != len(values) or (len(columns) and not 0 <= columns.min() <= columns.max() < m):
            faults.append(f"weights must be of the {m} items, got others")
        if not np.isfinite(values).all() or not values.any():
            faults.append("weights must be finite and not all 0, got NaN, infinite ones, or zeros")
        return faults

    def _factors(self, past: Past) -> Float:
        """Returns what each entry of the users' rows counts."""
        return past.rows.strengths if self.by_strength else np.ones(len(past.rows.columns))

    def _entries(self, rows: Int) -> tuple[Int, Int, Float]:
        """Returns the entries of these rows of W: (place in `rows`, item, value)."""
        starts, lengths = self.weights.indptr[rows], np.diff(self.weights.indptr)[rows]
        at = np.repeat(np.arange(len(rows)), lengths)
        entries = np.arange(len(at)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
        return at, self.weights.columns[entries].astype(np.int64), self.weights.values[entries].astype(np.float64)

    def _sums(self, past: Past) -> _Sums:
        """Returns the scores, some users at a time. A user's sum has the same order in every batch."""
        rows, factors, m = past.rows, self._factors(past), len(self.items)
        lengths = np.add.reduceat(
            np.append(np.diff(self.weights.indptr)[rows.columns], 0), np.minimum(rows.indptr[:-1], len(rows.columns))
        )
        lengths[np.diff(rows.indptr) == 0] = 0
        parts, first = [_Sums(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))], 0
        while first < past.users:
            entries = int(np.searchsorted(np.cumsum(lengths[first:]), CELLS, side="right"))
            end = first + max(1, min(entries, CELLS // m))
            own = slice(rows.indptr[first], rows.indptr[end])
            at, columns, values = self._entries(rows.columns[own])
            users = np.repeat(np.arange(first, end), np.diff(rows.indptr[first : end + 1]))[at]
            parts.append(summed(users, columns, values * factors[own][at], m))
            first = end
        return _Sums(*map(np.concatenate, zip(*parts, strict=True)))


def summed(users: Int, items: Int, values: Float, m: int) -> _Sums:
    """Adds up the values of each pair of a user and an item."""
    pairs = users * m + items
    if len(pairs) and (cells := (int(users[-1]) - int(users[0]) + 1) * m) <= CELLS:  # dense is quicker than a sort
        first = int(users[0]) * m
        sums: Float = np.bincount(pairs - first, values, cells).astype(np.float64)
        found = np.flatnonzero(np.bincount(pairs - first, minlength=cells))
        users, items = np.divmod(found + first, m)
        return _Sums(users, items, sums[found])
    found, at = np.unique(pairs, return_inverse=True)
    users, items = np.divmod(found, m)
    return _Sums(users, items, np.bincount(at, values, len(found)).astype(np.float64))


def best(sums: _Sums, users: int, k: int) -> Top:
    """The k best of each user by (score descending, item ascending). sums: by user."""
    sums = _likely(sums, users, k)
    order = np.lexsort((sums.items, -sums.scores, sums.users))
    owners = sums.users[order]
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners)
    kept, place = order[rank < k], rank[rank < k]
    top = Top(np.full((users, k), NONE, np.int64), np.full((users, k), -np.inf))
    top.items[sums.users[kept], place] = sums.items[kept]
    top.scores[sums.users[kept], place] = sums.scores[kept]
    return top


def _likely(sums: _Sums, users: int, k: int) -> _Sums:
    """Leaves out what is worse than the k-th best score of its user: a sort of the rest is quick."""
    ends = np.searchsorted(sums.users, np.arange(users + 1))
    kept = np.ones(len(sums.users), bool)
    for user in np.flatnonzero(np.diff(ends) > k):
        own = slice(ends[user], ends[user + 1])
        scores = sums.scores[own]
        kept[own] = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
    return sums if kept.all() else _Sums(*(column[kept] for column in sums))
