"""A recommender whose score is a product: a vector of the user's past times a vector of the item.

A family gives the two; this class gives the answers. An index may stand in for the exact scan of all items.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors import diversity
from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import NONE, Excluded, Top, empty, listed_top_n, longest, strongest
from headrace.udfs.recommenders.contract import Lists, Past

WIDER = 2  # times the items are asked of an index: users who have seen more than the rest are scanned for

# (vectors (u, f), k) -> (scores, places in the allowed items), both (u, k), below 0 where it found fewer.
Search = Callable[[Real, int], tuple[NDArray[np.float32], Int]]


class FactorScorer:
    """A subclass says how a user's vector is made, and may say better why an item is listed."""

    def __init__(self, items: Sequence[str], Y: Real) -> None:
        """Y (items, f): row i belongs to items[i]."""
        self.items, self.Y = items, np.asarray(Y)  # numpy.memmap is a subclass of the array, and slow
        self._longest = longest(self.Y)
        self._units: NDArray[np.float32] | None = None
        self._shown: tuple[Int, Real] | None = None
        self._best: Search | None = None
        self._alike: Search | None = None

    def user_vectors(self, past: Past) -> Float:
        """Returns (users, f); zeros for a user of whom nothing is known."""
        raise NotImplementedError

    def vectors(self) -> Real | None:
        return self.Y

    @property
    def units(self) -> NDArray[np.float32]:
        """The vectors of the items, of length 1."""
        if self._units is None:
            self._units = diversity.unit(self.Y)
        return self._units

    def searching(self, best: Search, alike: Search) -> None:
        """From now on lists come from an index of Y[allowed], and similar items from one of units[allowed]."""
        self._best, self._alike = best, alike

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        X = self.user_vectors(past)
        known = np.any(X != 0, axis=1)
        top = empty(past.users, k)
        if known.any():  # of a vector of zeros all items are equal, and a search would find them all
            search = self._found if self._best else self._scanned
            top.items[known], top.scores[known] = search(X[known], k, allowed, past.seen.of(known))
        return Lists(*top, known)

    def score(self, past: Past, items: Int) -> Float:
        return _products(self.user_vectors(past), self.Y, items)

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        units, itself = self.units[items], Excluded(np.arange(len(items)), items)
        if self._alike is None:
            top = listed_top_n(units, self.units[allowed], allowed, k, itself)
        else:
            nearest = _unseen(self._alike(units, min(k + 1, len(allowed)))[1], allowed, len(self.items), itself)
            top = _best(nearest, _products(units, self.units, nearest), k)
        alike = top.scores > 0
        return Top(np.where(alike, top.items, NONE), np.where(alike, top.scores, -np.inf))

    def explain(self, past: Past, items: Int) -> Int:
        """Returns the item of the user's rows that adds most, by `shares`; NONE where none adds anything."""
        why = np.full(items.shape, NONE, np.int64)
        for user in np.flatnonzero(np.diff(past.rows.indptr)):
            own = past.rows.columns[past.rows.indptr[user] : past.rows.indptr[user + 1]]
            why[user] = strongest(self.shares(own, items[user]), own, items[user])
        return why

    def shares(self, own: Int, items: Int) -> Real:
        """Returns how like each of a user's own items each item is, (own, c): by cosine."""
        return np.asarray((self.units[items] @ self.units[own].T).T)

    def sound(self) -> list[str]:
        faults = []
        if len(self.Y) != len(self.items):
            faults.append(f"item factors must have a row for each of {len(self.items)} items, got {len(self.Y)}")
        if not np.isfinite(self.Y).all() or not self.Y.any():
            faults.append("item factors must be finite and not all 0, got NaN, infinite ones, or zeros")
        return faults

    def _scanned(self, X: Real, k: int, allowed: Int, seen: Excluded) -> Top:
        if self._shown is None or self._shown[0] is not allowed:  # the same ones are asked for again and again
            self._shown = allowed, self.Y if len(allowed) == len(self.Y) else self.Y[allowed]
        return listed_top_n(X, self._shown[1], allowed, k, seen, self._longest)

    def _found(self, X: Real, k: int, allowed: Int, seen: Excluded) -> Top:
        assert self._best is not None
        many = np.bincount(seen.users, minlength=len(X)) > (WIDER - 1) * k
        nearest = _unseen(self._best(X, min(WIDER * k, len(allowed)))[1], allowed, len(self.items), seen)
        top = _best(nearest, _products(X, self.Y, nearest), k)
        if many.any():
            top.items[many], top.scores[many] = self._scanned(X[many], k, allowed, seen.of(many))
        return top


def _products(X: Real, Y: Real, items: Int) -> Float:
    """Returns the products (users, c), each with the same bits in every batch."""
    return np.asarray(np.einsum("uf,ukf->uk", X.astype(np.float64), Y[items].astype(np.float64)))


def _unseen(places: Int, allowed: Int, m: int, excluded: Excluded) -> Int:
    """Returns the items (users, k) at these places of `allowed`, with NONE in place of the excluded ones."""
    items = np.where(places < 0, NONE, allowed[places])
    pairs = np.arange(len(items))[:, None] * m + items
    return np.where(np.isin(pairs, excluded.users * m + excluded.items), NONE, items)


def _best(items: Int, scores: Float, k: int) -> Top:
    """Returns the k best items of each user by (score descending, item ascending)."""
    scores = np.where(items == NONE, -np.inf, scores)
    order = np.lexsort((items, -scores))[:, :k]
    padding = ((0, 0), (0, max(k - order.shape[1], 0)))
    best, values = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    return Top(np.pad(best, padding, constant_values=NONE), np.pad(values, padding, constant_values=-np.inf))
