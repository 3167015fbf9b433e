"""Users folded in by non-negative least squares: x_u >= 0 minimises |r_u - x'H'|^2, the items' factors H fixed.

Coordinate descent, as Hsieh, Dhillon 2011, "Fast coordinate descent methods with variable selection for non-negative
matrix factorization": x_k becomes max(0, x_k + (b_k - x'g_k) / g_kk), with G = H'H and b = H'r_u.
"""

from collections.abc import Sequence

import numpy as np

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Real
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.factor_scorer import FactorScorer
from headrace.udfs.recommenders.linear_scorer import sums

SWEEPS = 30  # over the factors


class NonNegativeScorer(FactorScorer):
    def __init__(self, items: Sequence[str], Y: Real) -> None:
        """Y (items, f), none below 0."""
        super().__init__(items, Y)
        self._gram = als.gram(self.Y)

    def user_vectors(self, past: Past) -> Float:
        return solved(sums(self.Y, past.rows), self._gram)

    def sound(self) -> list[str]:
        return [*super().sound(), *(["item factors must be >= 0, got others"] if (self.Y < 0).any() else [])]


def solved(b: Float, G: Float) -> Float:
    """Returns the vectors (n, f) for b (n, f) and G (f, f). A row has the same bits in every batch."""
    X = np.zeros(b.shape)
    for _ in range(SWEEPS):
        for k in np.flatnonzero(np.diag(G) > 0):
            fitted = np.einsum("uf,f->u", X, G[k])
            X[:, k] = np.maximum(0.0, X[:, k] + (b[:, k] - fitted) / G[k, k])
    return X
