"""Half an iteration of ALS, fast: the least-squares problems of udfs/factors/als.py for many rows, in float32.

It finds the minimum of `headrace.udfs.factors.als.solve`, to about 1e-5 of a vector's length. `solve` serves (float64,
the same bits in every batch), this module trains. What makes it fast:

* A = P + Z'DZ is never formed. P is the diagonal prior in the eigenbasis of Y'Y, and Z the row's factors there.
  Conjugate gradients only multiply by A (Takacs, Pilaszy, Tikk 2011, "Applications of the conjugate gradient method for
  implicit feedback collaborative filtering"). To form A cost three times as much.
* The preconditioner is what A's diagonal would be if the row's items were like all items: P + sum(d) E / m, E the
  eigenvalues of Y'Y. It needs no pass over Z, and as few steps as the diagonal itself. We go on until the residual of
  each row is below a tolerance. In the eigenbasis A is close to diagonal: 4 steps reach 1e-3, 8 steps 3e-7.
* A batch's factors fit a core's cache. They are gathered into one buffer, whose pages are in memory already.
* Vectors stay in the basis of the other side, which is as good as any other for the next step.

A row's result depends on the row alone: a row that has converged does not move while the others of its batch go on.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.als import Basis, Int, Objective, Rows, alike

Float32 = NDArray[np.float32]

TOLERANCE = 3e-7  # of a residual, relative to the right-hand side, both in the norm of the preconditioner's inverse
STEPS = 100
_GATHERED = 1 << 18  # numbers gathered at a time: 1 MiB, within a core's cache
_TINY = np.float32(1e-30)


class Half(NamedTuple):
    """The vectors of one side, in the basis of the other, and the objective there.

    The objective is the equation of udfs/factors/als.py, summed over the rows, without the other side's regularisation.
    """

    X: Float32  # (n, f), zeros for a row without entries
    objective: float


class _Batch(NamedTuple):
    """b rows of one padded length l. Where a row is shorter, d and t are 0."""

    rows: Int  # (b,)
    Z: Float32  # (b, l, f); the next batch overwrites it
    d: Float32  # (b, l), what an entry adds to the quadratic term
    t: Float32  # (b, l), what an entry adds to the linear term
    prior: Float32  # (b, f), the diagonal of P
    diagonal: Float32  # (b, f), about the diagonal of A


def sweep(other: Basis, rows: Rows, objective: Objective, tolerance: float = TOLERANCE) -> Half:
    """The best vector of each row given the other side's factors, which must be float32."""
    X = np.zeros((len(rows.indptr) - 1, len(other.rotation)), np.float32)
    gained = 0.0
    for batch in _batches(other, rows, objective):
        b = _combined(batch.t, batch.Z)
        x = _solve(batch, b, tolerance)
        X[batch.rows] = x
        gained += float(np.sum(b * x, dtype=np.float64))
    constant = objective.alpha * float(rows.strengths.sum(dtype=np.float64))
    constant += objective.unobserved * objective.target**2 * len(rows.columns)
    return Half(X, constant - gained)  # x = A^-1 b leaves c - b'x


def penalty(X: Float32, lengths: Int, others: int, objective: Objective) -> float:
    """The regularisation of one side: sum of reg (|u| + w0 m)^nu x'x. X (n, f), lengths |u| (n,), others m."""
    reg = objective.reg * (lengths + objective.unobserved * others) ** objective.nu
    return float(reg @ np.einsum("nf,nf->n", X, X, dtype=np.float64))


def _solve(batch: _Batch, b: Float32, tolerance: float) -> Float32:
    """A^-1 b of each row of a batch, (b, f), by preconditioned conjugate gradients."""
    inverse = 1 / batch.diagonal
    x, r = np.zeros_like(b), b.copy()
    z = r * inverse
    p, rz = z, _dot(r, z)
    enough = tolerance**2 * rz
    for _ in range(STEPS):
        going = rz > enough
        if not going.any():
            break
        Ap = batch.prior * p + _combined(batch.d * _products(batch.Z, p), batch.Z)
        step = np.where(going, rz / np.maximum(_dot(p, Ap), _TINY), 0)[:, None]
        x += step * p
        r -= step * Ap
        z = r * inverse
        before, rz = rz, np.where(going, _dot(r, z), rz)
        p = z + (rz / np.maximum(before, _TINY))[:, None] * p
    return x


def _products(Z: Float32, x: Float32) -> Float32:
    """Z x of each row of a batch, (b, l)."""
    return np.asarray((Z @ x[..., None])[..., 0])


def _combined(weights: Float32, Z: Float32) -> Float32:
    """Z'w of each row of a batch, (b, f)."""
    return np.asarray((weights[:, None, :] @ Z)[:, 0])


def _dot(x: Float32, y: Float32) -> Float32:
    return np.asarray((x[:, None, :] @ y[..., None])[:, 0, 0])


def _batches(other: Basis, rows: Rows, objective: Objective) -> Iterator[_Batch]:
    f, room = len(other.rotation), np.empty(0, np.float32)
    for chosen, length in alike(np.diff(rows.indptr), f, _GATHERED):
        if room.size < len(chosen) * length * f:
            room = np.empty(len(chosen) * length * f, np.float32)
        Z = room[: len(chosen) * length * f].reshape(len(chosen), length, f)
        yield _gather(other, rows, objective, chosen, Z)


def _gather(other: Basis, rows: Rows, objective: Objective, chosen: Int, Z: Float32) -> _Batch:
    """Gathers a batch, and writes its factors into Z."""
    first, lengths = rows.indptr[chosen], rows.indptr[chosen + 1] - rows.indptr[chosen]
    column = np.arange(Z.shape[1])
    held = column < lengths[:, None]
    entries = np.where(held, first[:, None] + column, first[:, None])
    np.take(other.factors, rows.columns[entries], axis=0, out=Z, mode="clip")
    d = np.where(held, objective.alpha * rows.strengths[entries], 0).astype(np.float32)
    t = np.where(held, d + objective.unobserved * objective.target, 0).astype(np.float32)
    reg = objective.reg * (lengths + objective.unobserved * other.size) ** objective.nu
    prior = (objective.unobserved * other.eigenvalues + reg[:, None]).astype(np.float32)
    mean = (other.eigenvalues / other.size).astype(np.float32)
    return _Batch(chosen, Z, d, t, prior, prior + d.sum(axis=1)[:, None] * mean)
