"""Users as sums of vectors of the items they took: x_u = sum of v_j over the user's items (PureSVD's fold-in).

Cremonesi, Koren, Turrin 2010, "Performance of recommender algorithms on top-N recommendation tasks", section 3.2.2:
with R ~ U S V', a user's scores are r_u V V'.
"""

import numpy as np

from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.factor_scorer import FactorScorer


class LinearScorer(FactorScorer):
    def user_vectors(self, past: Past) -> Float:
        return sums(self.Y, past.rows)

    def shares(self, own: Int, items: Int) -> Real:
        """Returns what each of a user's own items adds to each score, v_j'v_i, (own, c)."""
        return np.asarray((self.Y[items].astype(np.float64) @ self.Y[own].astype(np.float64).T).T)


def sums(Y: Real, rows: Rows) -> Float:
    """Returns the sum of the rows of Y (m, f) that each row names, (n, f)."""
    X = np.zeros((len(rows.indptr) - 1, Y.shape[1]))
    some = np.flatnonzero(np.diff(rows.indptr))
    if len(some):
        X[some] = np.add.reduceat(Y[rows.columns].astype(np.float64), rows.indptr[some], axis=0)
    return X
