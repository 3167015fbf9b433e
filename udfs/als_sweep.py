"""Half an iteration of ALS, fast: the least-squares problems of udfs/als.py for many rows, in float32.

The same minimum of the same equation as `udfs.als.solve`, to about 1e-5 of a vector's length; that one serves (float64,
the same bits in every batch), this one trains. What makes it fast:

* A = P + Z'DZ is formed by float32 products, P the diagonal prior in the eigenbasis of Y'Y (Z the row's factors there).
* It is solved by conjugate gradients with the diagonal as preconditioner (Takacs, Pilaszy, Tikk 2011, "Applications of
  the conjugate gradient method for implicit feedback collaborative filtering"). They stop at 3 steps; we go on until
  the residual of each row is below a tolerance: in the eigenbasis A is close to diagonal, and 13 steps reach 3e-7.
* l < f entries cost an l x l system: I + D^(1/2) Z P^-1 Z' D^(1/2), symmetric.
* Vectors stay in the basis of the other side, which is as good as any other for what comes next.

A row's result depends on the row alone: rows that have converged stand still until the others of their batch have.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udfs.als import Basis, Int, Objective, Rows, alike

Float32 = NDArray[np.float32]

TOLERANCE = 3e-7  # of a residual, relative to the right-hand side, both scaled by the root of A's diagonal
STEPS = 100
_GATHERED = 1 << 18  # numbers gathered at a time: 1 MiB, within a core's cache
_TINY = np.float32(1e-30)


class Half(NamedTuple):
    X: Float32  # (n, f), in the basis of the other side; zeros for a row without entries
    objective: float  # the equation of udfs/als.py summed over the rows, at X, without the other side's regularisation


class _Batch(NamedTuple):
    """b rows of one padded length l; d and t are 0 where a row is shorter."""

    rows: Int  # (b,)
    Z: Float32  # (b, l, f)
    d: Float32  # (b, l), what an entry adds to the quadratic term
    t: Float32  # (b, l), to the linear term
    prior: Float32  # (b, f), the diagonal of P


def sweep(other: Basis, rows: Rows, objective: Objective, tolerance: float = TOLERANCE) -> Half:
    """The best vector of each row given the other side's factors, which must be float32."""
    X = np.zeros((len(rows.indptr) - 1, len(other.rotation)), np.float32)
    gained = 0.0
    for batch in _batches(other, rows, objective):
        b = _product(batch.Z.transpose(0, 2, 1), batch.t)
        x = _short(batch, tolerance) if _is_short(batch) else _long(batch, b, tolerance)
        X[batch.rows] = x
        gained += float(np.sum(b * x, dtype=np.float64))
    constant = objective.alpha * float(rows.strengths.sum(dtype=np.float64))
    constant += objective.unobserved * objective.target**2 * len(rows.columns)
    return Half(X, constant - gained)  # x = A^-1 b leaves c - b'x


def penalty(X: Float32, lengths: Int, others: int, objective: Objective) -> float:
    """The regularisation of one side: sum of reg (|u| + w0 m)^nu x'x."""
    reg = objective.reg * (lengths + objective.unobserved * others) ** objective.nu
    return float(reg @ np.einsum("nf,nf->n", X, X, dtype=np.float64))


def _is_short(batch: _Batch) -> bool:
    """And divisible by D^(1/2): a strength of 0 may yet have a linear term."""
    return batch.Z.shape[1] < batch.Z.shape[2] and not ((batch.d == 0) & (batch.t > 0)).any()


def _long(batch: _Batch, b: Float32, tolerance: float) -> Float32:
    A = batch.Z.transpose(0, 2, 1) @ (batch.Z * batch.d[..., None])
    _diagonal(A)[...] += batch.prior
    return _solve(A, b, tolerance)


def _short(batch: _Batch, tolerance: float) -> Float32:
    """x = P^-1/2 W' (I + W W')^-1 D^-1/2 t with W = D^1/2 Z P^-1/2."""
    root, half = np.sqrt(batch.prior), np.sqrt(batch.d)
    W = batch.Z * half[..., None] / root[:, None, :]
    K = W @ W.transpose(0, 2, 1)
    _diagonal(K)[...] += 1
    s = _solve(K, batch.t / np.maximum(half, _TINY), tolerance)
    return np.asarray(_product(W.transpose(0, 2, 1), s) / root)


def _solve(A: Float32, b: Float32, tolerance: float) -> Float32:
    """A^-1 b of each of a batch by conjugate gradients; A is overwritten."""
    scale = 1 / np.sqrt(_diagonal(A))
    A *= scale[:, None, :]
    A *= scale[:, :, None]
    r = b * scale
    x, p, rr = np.zeros_like(r), r.copy(), _dot(r, r)
    enough = tolerance**2 * rr
    for _ in range(STEPS):
        going = rr > enough
        if not going.any():
            break
        Ap = _product(A, p)
        step = np.where(going, rr / np.maximum(_dot(p, Ap), _TINY), 0)[:, None]
        x += step * p
        r -= step * Ap
        before, rr = rr, np.where(going, _dot(r, r), rr)
        p = r + (rr / np.maximum(before, _TINY))[:, None] * p
    return np.asarray(x * scale)


def _product(A: Float32, x: Float32) -> Float32:
    """A x of each of a batch."""
    return np.asarray((A @ x[..., None])[..., 0])


def _dot(x: Float32, y: Float32) -> Float32:
    return np.asarray((x[:, None, :] @ y[..., None])[:, 0, 0])


def _diagonal(A: Float32) -> Float32:
    """A view, (b, n)."""
    return np.asarray(np.einsum("bii->bi", A))


def _batches(other: Basis, rows: Rows, objective: Objective) -> Iterator[_Batch]:
    for chosen, length in alike(np.diff(rows.indptr), len(other.rotation), _GATHERED):
        yield _gather(other, rows, objective, chosen, length)


def _gather(other: Basis, rows: Rows, objective: Objective, chosen: Int, length: int) -> _Batch:
    first, lengths = rows.indptr[chosen], rows.indptr[chosen + 1] - rows.indptr[chosen]
    held = np.arange(length) < lengths[:, None]
    entries = np.where(held, first[:, None] + np.arange(length), first[:, None])
    d = np.where(held, objective.alpha * rows.strengths[entries], 0)
    t = np.where(held, d + objective.unobserved * objective.target, 0)
    reg = objective.reg * (lengths + objective.unobserved * other.size) ** objective.nu
    prior = objective.unobserved * other.eigenvalues + reg[:, None]
    Z = other.factors[rows.columns[entries]]
    return _Batch(chosen, Z, d.astype(np.float32), t.astype(np.float32), prior.astype(np.float32))
