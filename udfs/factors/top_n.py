"""The N best items of each user by x_u'y_i, exactly, and the reason of each.

The scores of a block of items are a float32 matrix product. An item cannot be among the best N if its float32 score is
below the N-th best by more than twice the rounding error. The few items that remain are scored again in float64, one
product at a time. So the list is that of float64 scores, it has the same bits in every batch, and items of equal score
are in the order of their index.

The N-th best needs no sort of all scores: with items in groups, at least N items reach the N-th highest group maximum.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Basis, Float, Int, Objective, Real, Rows

NONE = -1  # where a user has fewer than N items left
_SCORES = 1 << 20  # float32 scores in memory at a time: 4 MiB
_GROUP = 16  # items that share a maximum
_ULP = 2.0**-24  # half a unit in the last place of float32, relative


class Top(NamedTuple):
    items: Int  # (users, n), best first, NONE at the end
    scores: Float  # (users, n), -inf at NONE


class Excluded(NamedTuple):
    """Pairs of a user and an item that the user's list may not hold, in any order, repeated or not."""

    users: Int
    items: Int

    def of(self, chosen: NDArray[np.bool_]) -> "Excluded":
        """The pairs of some users, a mask, who are numbered from 0 on."""
        theirs = chosen[self.users]
        return Excluded(np.cumsum(chosen)[self.users[theirs]] - 1, self.items[theirs])


class _Candidates(NamedTuple):
    users: Int
    items: Int
    approximate: Float


def empty(users: int, n: int) -> Top:
    """Lists without an item."""
    return Top(np.full((users, n), NONE, np.int64), np.full((users, n), -np.inf))


def longest(Y: Real) -> float:
    """max |y_i|, which bounds the rounding. Compute it once for a Y that serves many calls of `top_n`."""
    return float(np.sqrt(np.einsum("if,if->i", Y, Y, dtype=np.float64).max(initial=0.0)))


def top_n(X: Real, Y: Real, n: int, excluded: Excluded, longest_y: float | None = None) -> Top:
    """The first n items of each user by (score descending, item ascending), without the excluded ones.

    X (users, f), Y (items, f). Raises ValueError unless n >= 1.
    """
    if n < 1:
        raise ValueError(f"n must be >= 1, got {n}")
    margin = 2 * _rounding(X, longest(Y) if longest_y is None else longest_y)
    users, items, _ = _candidates(X.astype(np.float32), Y, n, excluded, margin)
    scores = np.einsum("pf,pf->p", X[users].astype(np.float64), Y[items].astype(np.float64))
    order = np.lexsort((items, -scores, users))
    users, items, scores = users[order], items[order], scores[order]
    rank = np.arange(len(users)) - np.searchsorted(users, users)
    best = rank < n
    top = empty(len(X), n)
    top.items[users[best], rank[best]] = items[best]
    top.scores[users[best], rank[best]] = scores[best]
    return top


def listed_top_n(X: Real, shown: Real, listed: Int, n: int, excluded: Excluded, longest_y: float | None = None) -> Top:
    """`top_n` among the listed items alone: listed (k,), their indices, ascending; shown (k, f), their rows of Y."""
    if not len(listed):
        return empty(len(X), n)
    at = np.minimum(np.searchsorted(listed, excluded.items), len(listed) - 1)
    here = listed[at] == excluded.items
    top = top_n(X, shown, n, Excluded(excluded.users[here], at[here]), longest_y)
    return Top(np.where(top.items == NONE, NONE, listed[top.items]), top.scores)


def _candidates(X: Real, Y: Real, n: int, excluded: Excluded, margin: Float) -> _Candidates:
    """Every item that can be among the n best of its user, and few others."""
    # The n highest group maxima so far. The n-th best score is at least the lowest of them.
    floor = np.full((len(X), n), -np.inf, np.float32)
    candidates = []
    for first, scores in _blocks(X, Y, excluded):
        maxima = _maxima(scores)
        floor = np.partition(np.hstack([floor, maxima]), -n, axis=1)[:, -n:]
        users, items = _reaching(scores, maxima, floor.min(axis=1) - margin)
        candidates.append(_Candidates(users, items + first, scores[users, items].astype(np.float64)))
    every = _Candidates(*map(np.concatenate, zip(*candidates, strict=True))) if candidates else _no_candidates()
    still = every.approximate >= (floor.min(axis=1) - margin)[every.users]
    return _Candidates(*(column[still] for column in every))


def _no_candidates() -> _Candidates:
    return _Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def _rounding(X: Real, longest_y: float) -> Float:
    """Bounds the error of each user's float32 scores: (f + 2) u |x| |y| (Higham 2002, 3.1).

    It includes the rounding of x itself to float32.
    """
    lengths = np.linalg.norm(X.astype(np.float64), axis=1)
    # 2^-126: denormals round absolutely, not relatively. 1.01: the rounding of this line.
    return np.asarray(1.01 * (X.shape[1] + 2) * (_ULP * lengths * longest_y + 2.0**-126))


def _blocks(X: Real, Y: Real, excluded: Excluded) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yields (first item, scores (users, block) of the items from there on). Excluded items score -inf."""
    width = max(_GROUP, _SCORES // max(len(X), 1))
    order = np.argsort(excluded.items, kind="stable")
    users, items = excluded.users[order], excluded.items[order]
    for first in range(0, len(Y), width):
        scores = X @ Y[first : first + width].astype(np.float32, copy=False).T
        here = slice(*np.searchsorted(items, [first, first + width]))
        scores[users[here], items[here] - first] = -np.inf
        yield first, scores


def _maxima(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The maximum of each group, (users, groups + rest).

    Group g holds the items g, g + groups, g + 2 groups, ... The items of the rest are in no group and follow unchanged.
    """
    groups = scores.shape[1] // _GROUP
    whole = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups)
    return np.hstack([whole.max(axis=1), scores[:, groups * _GROUP :]])


def _reaching(scores: NDArray[np.float32], maxima: NDArray[np.float32], bound: Float) -> tuple[Int, Int]:
    """Pairs (users, items) whose score is at least the user's bound. -inf never is.

    It looks only into the groups whose maximum reaches the bound.
    """
    groups = scores.shape[1] // _GROUP
    users, at = np.nonzero((maxima >= bound[:, None]) & (maxima > -np.inf))
    inside, steps = at < groups, groups * np.arange(_GROUP)
    alone = at[~inside] - groups + groups * _GROUP
    items = np.concatenate([(at[inside, None] + steps).ravel(), alone])
    users = np.concatenate([np.repeat(users[inside], _GROUP), users[~inside]])
    values = scores[users, items]
    reach = (values >= bound[users]) & (values > -np.inf)
    return users[reach], items[reach]


def strongest(shares: Real, own: Int, items: Int) -> Int:
    """The reason of each item of one list (c,): of the user's own items the one that adds most. NONE if none adds.

    shares (own, c): what each adds to the score of each. Of equal ones the first wins.
    """
    best = np.argmax(shares, axis=0)
    adds = (shares[best, np.arange(len(items))] > 0) & (items != NONE)
    return np.where(adds, own[best], NONE)


def reasons(other: Basis, rows: Rows, objective: Objective, items: Int) -> Int:
    """The reason of each listed item (users, n): the item of the user's history that adds most to its score.

    Of equal ones the first wins. NONE where the history or the place in the list is empty, or nothing adds anything.
    """
    why = np.full(items.shape, NONE, np.int64)
    users = np.flatnonzero(np.diff(rows.indptr))
    if not len(users):
        return why
    shares = als.contributions(other, rows, objective, items)
    most = np.maximum.reduceat(shares, rows.indptr[users], axis=0)
    lengths = np.diff(rows.indptr)[users]
    entries = np.where(shares == np.repeat(most, lengths, axis=0), np.arange(len(shares))[:, None], len(shares))
    first = np.minimum.reduceat(entries, rows.indptr[users], axis=0)
    why[users] = np.where((items[users] == NONE) | (most <= 0), NONE, rows.columns[first])
    return why
