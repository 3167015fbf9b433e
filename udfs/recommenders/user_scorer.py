"""User-user neighbours: what those take who took what the user took.

Herlocker, Konstan, Borchers, Riedl 1999; for implicit feedback score(u, i) = sum over the nearest users v who took i of
cos(u, v). The kept users' baskets lie beside each other twice, by user and by item.
"""

from collections.abc import Sequence

import numpy as np

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int, Rows
from headrace.udfs.recommenders.sparse_scorer import SparseScorer, Weights, added, best


class UserScorer(SparseScorer):
    def __init__(self, items: Sequence[str], indptr: Int, columns: Int, neighbours: int) -> None:
        """indptr, columns: the items of each kept user; neighbours: users whose baskets count.

        Raises ValueError if there is no row for each user, or an item that is not there.
        """
        super().__init__(items)
        if len(indptr) < 2 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(columns):
            raise ValueError(f"baskets must have a row for each user, got {len(columns)} items")
        if not len(columns) or not 0 <= columns.min() <= columns.max() < len(items):
            raise ValueError(f"baskets must be of the {len(items)} items, got others or none")
        rows = Rows(np.asarray(indptr), np.asarray(columns).astype(np.int64), np.ones(len(columns)))
        self.neighbours, self.baskets = neighbours, Weights(*rows)
        self.takers = Weights(*als.transpose(rows, len(items)))
        self._roots = np.sqrt(np.maximum(np.diff(self.baskets.indptr), 1))

    def sums(self, taken: Int, strengths: Float) -> tuple[Int, Float]:
        users, cosines = self._nearest(taken)
        entries, lengths = self.baskets.entries(users)
        return added(self.baskets.columns[entries].astype(np.int64), np.repeat(cosines, lengths), len(self.items))

    def shares(self, taken: Int, strengths: Float, items: Int) -> Float:
        """Of an item: the votes for each item that come from those who took it."""
        users, cosines = self._nearest(taken)
        took = np.stack([np.isin(users, self._of(item)) for item in taken])
        votes = np.stack([cosines * np.isin(users, self._of(item)) for item in items], axis=1)
        return np.asarray(took @ votes, np.float64)

    def alike(self, item: int) -> tuple[Int, Float]:
        takers = self._of(item)
        entries, _ = self.baskets.entries(takers)
        places, both = added(self.baskets.columns[entries].astype(np.int64), np.ones(len(entries)), len(self.items))
        counts = np.diff(self.takers.indptr)
        return places, both / np.sqrt(len(takers) * counts[places])

    def sound(self) -> list[str]:
        """Returns nothing: what is wrong does not open."""
        return []

    def _of(self, item: int) -> Int:
        return self.takers.columns[self.takers.indptr[item] : self.takers.indptr[item + 1]].astype(np.int64)

    def _nearest(self, taken: Int) -> tuple[Int, Float]:
        """Returns the kept users nearest to one who took these items, and their cosines."""
        entries, _ = self.takers.entries(taken)
        users, both = added(self.takers.columns[entries].astype(np.int64), np.ones(len(entries)), len(self._roots))
        cosines = both / (np.sqrt(len(taken)) * self._roots[users])
        nearest = best(users, cosines, self.neighbours)
        return users[nearest], cosines[nearest]
