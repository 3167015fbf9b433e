"""Item to item: a user's score of an item is the sum of what each of the user's items adds to it.

    score_ui = sum over j in u of  r_uj W_ji

Row j of the table W is what taking j adds to the scores of other items. r_uj is the strength, or 1 where the family
counts only whether an item was taken. Sums are float64, in the order of the items. Only scores above 0 are listed.
"""

from collections.abc import Sequence

import numpy as np

from headrace.udfs.factors.als import Float, Int
from headrace.udfs.recommenders.sparse_scorer import SparseScorer, Weights, added


class NeighbourScorer(SparseScorer):
    def __init__(self, items: Sequence[str], weights: Weights, by_strength: bool = False) -> None:
        """weights (items, items)."""
        super().__init__(items)
        indptr, columns, values = weights
        self.weights = Weights(np.asarray(indptr), np.asarray(columns), np.asarray(values))
        self._by_strength = by_strength

    def sums(self, taken: Int, strengths: Float) -> tuple[Int, Float]:
        entries, lengths = self.weights.entries(taken)
        weights = self.weights.values[entries].astype(np.float64)
        if self._by_strength:
            weights *= np.repeat(strengths, lengths)
        return added(self.weights.columns[entries].astype(np.int64), weights, len(self.items))

    def shares(self, taken: Int, strengths: Float, items: Int) -> Float:
        entries, lengths = self.weights.entries(taken)
        wanted, place = np.unique(items, return_inverse=True)
        of = np.full(len(self.items), -1)
        of[wanted] = np.arange(len(wanted))
        at = of[self.weights.columns[entries]]
        here, owners = at >= 0, np.repeat(np.arange(len(taken)), lengths)
        shares = np.zeros((len(taken), len(wanted)))
        shares[owners[here], at[here]] = self.weights.values[entries[here]]
        return (shares * strengths[:, None] if self._by_strength else shares)[:, place]

    def alike(self, item: int) -> tuple[Int, Float]:
        here = slice(self.weights.indptr[item], self.weights.indptr[item + 1])
        return self.weights.columns[here].astype(np.int64), self.weights.values[here].astype(np.float64)

    def sound(self) -> list[str]:
        return self.weights.faults("weights", len(self.items), len(self.items))
