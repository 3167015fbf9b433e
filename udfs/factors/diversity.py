"""Maximal marginal relevance: a list whose items are wanted and unlike each other, for many users at once.

Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
Summaries", section 2. With the candidates C and those already taken S, the next one is

    argmax over i in C - S of  lambda rel(i) - (1 - lambda) max over j in S of sim(i, j)

sim is 1 for two items of one category and 0 for others, or the cosine of their vectors (`Likeness`). rel is the score
of the item, scaled to 0..1 over the user's candidates, since scores have no scale of their own (1 for all where all are
equal). Of equal values the earlier candidate wins.

Where we differ: a candidate comes after all others if its similarity to a taken one is above `max_similarity`. A list
takes at most as many items of one group (such as a category) as the group's cap says, even if it stays shorter.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import NONE

_LATER = 4.0  # more than any two values of the formula differ by
UNGROUPED = -1  # the group of an item without a cap


class DiversityRule(NamedTuple):
    trade_off: float  # lambda: 1 keeps the order of the scores
    max_similarity: float  # 1: no item is too like another


class Groups(NamedTuple):
    of: Int  # (m,), the group of each item, UNGROUPED where it has no cap
    caps: Int  # (groups,), at most so many items of a group in a list, >= 0


class SameCategory(NamedTuple):
    """1 for two items of one category, 0 for others."""

    category: Int  # (m,), below 0 where an item has none

    def __call__(self, items: Int, other: Int) -> Float:
        """The likeness of each candidate (users, c) to the item (users,) of its user, (users, c)."""
        theirs = self.category[other][:, None]
        return np.asarray((self.category[items] == theirs) & (theirs >= 0), np.float64)


class Cosine(NamedTuple):
    units: NDArray[np.float32]  # (m, f), vectors of the items, scaled by `unit`

    def __call__(self, items: Int, other: Int) -> Float:
        """As that of SameCategory."""
        return np.asarray((self.units[items] @ self.units[other][:, :, None])[:, :, 0], np.float64)


Likeness = SameCategory | Cosine


def unit(Y: Real) -> NDArray[np.float32]:
    """Scales each row of Y (m, f) to length 1. A row of zeros stays."""
    lengths = np.linalg.norm(Y, axis=1, keepdims=True)
    return np.asarray(Y / np.where(lengths > 0, lengths, 1.0), np.float32)


def mmr(
    items: Int, scores: Float, likeness: Likeness | None, n: int, rule: DiversityRule, groups: Groups | None = None
) -> Int:
    """Takes n candidates of each user, in order: (users, n) columns of `items`, NONE where no candidate is left.

    items and scores (users, c): candidates by descending score, NONE at the end.
    """
    users = np.arange(len(items))
    counts = likeness is not None and rule != DiversityRule(1.0, 1.0)
    relevance = rule.trade_off * _relevance(items, scores)
    closest = np.zeros(items.shape)
    is_open = items != NONE
    left = None if groups is None else _Left(groups, items, is_open)
    taken = np.full((len(items), n), NONE, np.int64)
    limit = rule.max_similarity if rule.max_similarity < 1 else np.inf  # a cosine with itself may be a little above 1
    for at in range(n):
        value = relevance - (1 - rule.trade_off) * closest - _LATER * (closest > limit)
        best = np.argmax(np.where(is_open, value, -np.inf), axis=1)
        some = is_open[users, best]
        taken[some, at] = best[some]
        is_open[users, best] = False
        if left:
            left.take(best, some)
        if counts:
            alike = likeness(items, items[users, best])  # type: ignore[misc]
            closest = alike if at == 0 else np.maximum(closest, alike)
    return taken


def _relevance(items: Int, scores: Float) -> Float:
    """The scores (users, c), scaled to 0..1 over the candidates of each user."""
    present = items != NONE
    high = np.max(scores, axis=1, initial=-np.inf, where=present, keepdims=True)
    low = np.min(scores, axis=1, initial=np.inf, where=present, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    relevance = np.divide(scores - low, spread, out=np.zeros(scores.shape), where=present)
    return np.where(present & (high <= low), 1.0, relevance)


class _Left:
    """How many more items the group of each candidate may give. The candidates of a full group are closed."""

    def __init__(self, groups: Groups, items: Int, is_open: NDArray[np.bool_]) -> None:
        own = np.where(items == NONE, UNGROUPED, groups.of[items])
        self._own, self._is_open = own, is_open
        self._left = np.where(own == UNGROUPED, items.shape[1], groups.caps[own])  # (users, c)
        is_open &= self._left > 0

    def take(self, best: Int, some: NDArray[np.bool_]) -> None:
        """Counts one taken candidate of each user: its column best (users,), where some (users,) is True."""
        group = self._own[np.arange(len(best)), best]
        self._left -= (self._own == group[:, None]) & (group != UNGROUPED)[:, None] & some[:, None]
        self._is_open &= self._left > 0
