"""The gradient of federated collaborative filtering: what a node shares about its users instead of their vectors.

Ammad-ud-din et al. 2019 (arXiv:1901.09888), equations 6 and 7, for the objective of udfs/factors/als.py. The users'
vectors x_u are solved exactly for the global Y (`als.solve`). Then a node's part of the loss falls fastest in Y along

    sum_u  alpha r_ui (1 - x'y_i) x_u   for i in u   +  w0 (target [i in u] - x'y_i) x_u   for all i

Where we differ: the regularisation of Y is left to the server's step, and a node may hold several users.
"""

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Basis, Objective, Real, Rows, basis, solve

Float = NDArray[np.float64]


def descent(Y: Real, rows: Rows, objective: Objective) -> Float:
    """Minus half the gradient of the users' loss in Y, (m, f). Y (m, f); rows: one per user of the node."""
    return _descent(Y.astype(np.float64), solve(_basis(Y), rows, objective), rows, objective)


def _basis(Y: Real) -> Basis:
    return basis(Y.astype(np.float64))


def _descent(Y: Float, X: Float, rows: Rows, objective: Objective) -> Float:
    owners = np.repeat(np.arange(len(X)), np.diff(rows.indptr))
    scores = np.einsum("ef,ef->e", X[owners], Y[rows.columns])
    weights = objective.alpha * rows.strengths * (1 - scores) + objective.unobserved * objective.target
    step = -objective.unobserved * (Y @ (X.T @ X))
    np.add.at(step, rows.columns, weights[:, None] * X[owners])
    return np.asarray(step)
