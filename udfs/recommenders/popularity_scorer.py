"""The recommender that gives everybody the same: what most users took, without what they have seen."""

from collections.abc import Sequence

import numpy as np

from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import NONE, Excluded, Top, empty, listed_top_n
from headrace.udfs.recommenders.contract import Lists, Past


class PopularityScorer:
    def __init__(self, items: Sequence[str], users: Int) -> None:
        """users (items,): how many took each."""
        self.items, self.users = items, np.asarray(users, np.float32)

    def vectors(self) -> Real | None:
        return None

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        return Lists(*self._best(past.users, k, allowed, past.seen), np.ones(past.users, bool))

    def score(self, past: Past, items: Int) -> Float:
        return np.asarray(self.users[items], np.float64)

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        """Nothing is like anything."""
        return empty(len(items), k)

    def explain(self, past: Past, items: Int) -> Int:
        """Nothing that a user did adds to a score."""
        return np.full(items.shape, NONE, np.int64)

    def sound(self) -> list[str]:
        faults = []
        if len(self.users) != len(self.items):
            faults.append(f"there must be a number for each of {len(self.items)} items, got {len(self.users)}")
        if not np.isfinite(self.users).all() or (self.users < 0).any() or not self.users.any():
            faults.append("the numbers of users must be finite, not below 0 and not all 0")
        return faults

    def _best(self, users: int, k: int, allowed: Int, seen: Excluded) -> Top:
        return listed_top_n(np.ones((users, 1)), self.users[allowed][:, None], allowed, k, seen)
