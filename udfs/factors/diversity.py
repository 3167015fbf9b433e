"""Maximal marginal relevance: a list whose items are wanted and unlike each other, for many users at once.

Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
Summaries", section 2. Of the candidates C, with those already taken in S, the next is

    argmax over i in C - S of  lambda rel(i) - (1 - lambda) max over j in S of sim(i, j)

sim is the cosine of two items' factors. rel is the score of the item, brought to 0..1 over the user's candidates, since
scores have no scale of their own (1 for all where all are equal). Equal values: the earlier candidate.

Where we differ: a candidate more than `max_similarity` like one that was taken comes after all others, and of one group
(such as a category) at most so many are taken as its cap says, even if the list stays shorter.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import NONE

_LATER = 4.0  # more than any two values of the formula differ by
UNGROUPED = -1  # the group of an item that no cap concerns


class Rule(NamedTuple):
    trade_off: float = 0.7  # lambda: 1 keeps the order of the scores
    max_similarity: float = 0.8


class Groups(NamedTuple):
    of: Int  # (m,), the group of each item, UNGROUPED where no cap concerns it
    caps: Int  # of each group, >= 0


def unit(Y: Real) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(Y, axis=1, keepdims=True)
    return np.asarray(Y / np.where(lengths > 0, lengths, 1.0), np.float32)


def mmr(items: Int, scores: Float, units: NDArray[np.float32], n: int, rule: Rule, groups: Groups | None = None) -> Int:
    """Which candidates are taken, in order: (users, n) columns of `items`, NONE where nothing is left.

    items and scores (users, c): candidates by descending score, NONE at the end. units (m, f): what `unit` made of all
    item factors.
    """
    users = np.arange(len(items))
    vectors = units[items]  # (users, c, f)
    relevance = rule.trade_off * _relevance(items, scores)
    closest = np.full(items.shape, -1.0, np.float32)
    is_open = items != NONE
    left = None if groups is None else _Left(groups, items, is_open)
    taken = np.full((len(items), n), NONE, np.int64)
    for at in range(n):
        value = relevance - (1 - rule.trade_off) * closest - _LATER * (closest > rule.max_similarity)
        best = np.argmax(np.where(is_open, value, -np.inf), axis=1)
        some = is_open[users, best]
        taken[some, at] = best[some]
        is_open[users, best] = False
        if left:
            left.take(best, some)
        np.maximum(closest, (vectors @ vectors[users, best][:, :, None])[:, :, 0], out=closest)
    return taken


def _relevance(items: Int, scores: Float) -> Float:
    there = items != NONE
    high = np.max(scores, axis=1, initial=-np.inf, where=there, keepdims=True)
    low = np.min(scores, axis=1, initial=np.inf, where=there, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    relevance = np.divide(scores - low, spread, out=np.zeros(scores.shape), where=there)
    return np.where(there & (high <= low), 1.0, relevance)


class _Left:
    """How many more of its group each candidate's group may give; the candidates of a group that is full close."""

    def __init__(self, groups: Groups, items: Int, is_open: NDArray[np.bool_]) -> None:
        own = np.where(items == NONE, UNGROUPED, groups.of[items])
        self._own, self._is_open = own, is_open
        self._left = np.where(own == UNGROUPED, items.shape[1], groups.caps[own])  # (users, c)
        is_open &= self._left > 0

    def take(self, best: Int, some: NDArray[np.bool_]) -> None:
        group = self._own[np.arange(len(best)), best]
        self._left -= (self._own == group[:, None]) & (group != UNGROUPED)[:, None] & some[:, None]
        self._is_open &= self._left > 0
