"""A recommender whose score is a sum over few items: most items of the catalogue get nothing, and are not listed.

A subclass adds up the scores of one user and says what each item of the user adds; this class gives the answers. It
goes from user to user, so that an answer has the same bits in every batch, and memory does not grow with the batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real, ranges
from headrace.udfs.factors.top_n import NONE, Top, empty, strongest
from headrace.udfs.recommenders.contract import Bool, Lists, Past


class Weights(NamedTuple):
    """Sparse rows (CSR): row r holds `values` in the columns[indptr[r]:indptr[r + 1]], no column twice."""

    indptr: Int  # (rows + 1,)
    columns: NDArray[np.integer[Any]]  # (entries,)
    values: Real  # (entries,), of any sign

    def entries(self, rows: Int) -> tuple[Int, Int]:
        """Returns the entries of these rows, one row after the other: their positions, and how many each row has."""
        starts, ends = self.indptr[rows], self.indptr[rows + 1]
        return ranges(starts, ends), ends - starts

    def faults(self, name: str, rows: int, columns: int) -> list[str]:
        """Returns what is wrong with a table of this size."""
        if len(self.indptr) != rows + 1 or self.indptr[0] != 0 or (np.diff(self.indptr) < 0).any():
            return [f"{name}: indptr must have {rows + 1} numbers, ascending from 0, got {len(self.indptr)}"]
        sizes = {int(self.indptr[-1]), len(self.columns), len(self.values)}
        if len(sizes) > 1:
            return [f"{name}: columns and values must be as many as indptr says, got {sorted(sizes)}"]
        outside = (self.columns < 0) | (self.columns >= columns)
        faults = [f"{name}: columns must be from 0 to {columns - 1}, got others"] if outside.any() else []
        if not np.isfinite(self.values).all() or not self.values.any():
            faults.append(f"{name}: values must be finite and not all 0, got NaN, infinite ones, or zeros")
        return faults


class SparseScorer:
    def __init__(self, items: Sequence[str]) -> None:
        self.items = items
        self._allowed: tuple[Int, Bool] | None = None

    def sums(self, taken: Int, strengths: Float) -> tuple[Int, Float]:
        """Returns the items that one user's items add to, each once in any order, and their scores.

        taken: the user's items, ascending, with their strengths. None of both for a user of whom nothing is known.
        """
        raise NotImplementedError

    def shares(self, taken: Int, strengths: Float, items: Int) -> Float:
        """Returns what each of a user's items adds to the scores of these, (taken, items). Of NONE it means nothing."""
        raise NotImplementedError

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        found = Lists(*empty(past.users, k), np.zeros(past.users, bool))
        may, seen = self._may(allowed), seen_by(past)
        for user, taken, strengths in _users(past):
            places, scores = self.sums(taken, strengths)
            mine = may.copy()
            mine[seen[user]] = False
            left = mine[places] & (scores > 0)
            _write(found.items[user], found.scores[user], places[left], scores[left])
            found.known[user] = len(places) > 0
        return found

    def score(self, past: Past, items: Int) -> Float:
        found = np.zeros(items.shape)
        for user, taken, strengths in _users(past):
            every = np.zeros(len(self.items))
            places, scores = self.sums(taken, strengths)
            every[places] = scores
            found[user] = every[items[user]]
        return found

    def explain(self, past: Past, items: Int) -> Int:
        why = np.full(items.shape, NONE, np.int64)
        for user, taken, strengths in _users(past):
            why[user] = strongest(self.shares(taken, strengths, items[user]), taken, items[user])
        return why

    def alike(self, item: int) -> tuple[Int, Float]:
        """Returns the items that are like one, each once in any order, and how much."""
        raise NotImplementedError

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        found, may = empty(len(items), k), self._may(allowed)
        for row, item in enumerate(items.tolist()):
            places, scores = self.alike(item)
            left = may[places] & (scores > 0) & (places != item)
            _write(found.items[row], found.scores[row], places[left], scores[left])
        return found

    def vectors(self) -> None:
        return None

    def _may(self, allowed: Int) -> Bool:
        if self._allowed is None or self._allowed[0] is not allowed:  # the same ones are asked for again and again
            self._allowed = allowed, mask(allowed, len(self.items))
        return self._allowed[1]


def mask(places: Int, size: int) -> Bool:
    marked = np.zeros(size, bool)
    marked[places] = True
    return marked


def seen_by(past: Past) -> list[Int]:
    """Returns what each user has seen."""
    order = np.argsort(past.seen.users, kind="stable")
    borders = np.searchsorted(past.seen.users[order], np.arange(past.users + 1))
    items = past.seen.items[order]
    return [items[first:end] for first, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)]


def added(columns: Int, weights: Float, size: int) -> tuple[Int, Float]:
    """Returns the columns (each < size), each once, and the sums of their weights in the order of the entries.

    The time depends on the entries alone, not on `size`.
    """
    positions = np.arange(len(columns))
    of = np.empty(size, np.int64)
    of[columns] = positions  # one entry of each column stays; it does not matter which
    cells = of[columns]
    stays = cells == positions
    return columns[stays], np.bincount(cells, weights, len(columns))[stays]


def best(places: Int, scores: Float, k: int) -> Int:
    """Returns the positions of the k first by (score descending, place ascending)."""
    reach = np.arange(len(scores))
    if len(scores) > k:
        reach = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    order: Int = np.lexsort((places[reach], -scores[reach]))[:k]
    return reach[order]


def _users(past: Past) -> Iterator[tuple[int, Int, Float]]:
    """Yields each user who has taken something: (user, items in ascending order, strengths)."""
    indptr, columns, strengths = past.rows
    for user in np.flatnonzero(np.diff(indptr)).tolist():
        here = slice(indptr[user], indptr[user + 1])
        order = np.argsort(columns[here])
        yield user, columns[here][order], strengths[here][order]


def _write(items: Int, scores: Float, places: Int, values: Float) -> None:
    """Fills one row with its best items."""
    first = best(places, values, len(items))
    items[: len(first)], scores[: len(first)] = places[first], values[first]
