"""Implicit alternating least squares: factors whose products say who prefers what.

The equation is that of Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets", eq. 4, with
the frequency-scaled regularisation and the unobserved weight of Rendle, Krichene, Zhang, Koren 2022, "Revisiting the
Performance of iALS" (arXiv:2110.14037), sections 3 and 4. Users are rows of X (n, f), items are rows of Y (m, f). Given
Y, each x_u minimises

    sum_{i in u} alpha r_ui (1 - x'y_i)^2  +  w0 sum_{i in u} (target - x'y_i)^2  +  w0 sum_{i not in u} (x'y_i)^2
    + reg (|u| + w0 m)^nu x'x

target = 1, w0 = 1, nu = 0 is Hu's with c_ui = 1 + alpha r_ui; target = 0 is Rendle's.

Where we differ: each least-squares problem is solved in the eigenbasis of Y'Y = V diag(e) V'. There everything but the
user's own entries is diagonal, so l < f entries cost an l x l system instead of an f x f one (Woodbury), with any
regularisation. Solves are float64; against float32 factors their relative error is about 1e-7. A user's result has
the same bits in every batch, because a history is padded to a length that depends on its own length alone.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

_GATHERED = 1 << 18  # numbers gathered at a time: 2 MiB, about the size of a core's cache
_ROWS = 1 << 16  # of a factor matrix turned into float64 at a time


class Rows(NamedTuple):
    """Sparse rows (CSR): row u holds columns[indptr[u]:indptr[u + 1]] and, beside them, the strengths r_ui >= 0."""

    indptr: Int  # (n + 1,)
    columns: Int  # (entries,), no column twice in a row
    strengths: Float  # (entries,)


class Objective(NamedTuple):
    """The parameters of the module's equation. `hu` and `ials` make one and check it."""

    alpha: float
    reg: float
    unobserved: float  # w0
    target: float
    nu: float


class Basis(NamedTuple):
    """One side's factors in the eigenbasis of their Gram matrix."""

    factors: Real  # (m, f), Y V
    rotation: Float  # (f, f), V
    eigenvalues: Float  # (f,), of Y'Y
    size: int  # rows that the Gram matrix sums


class Factors(NamedTuple):
    X: Real  # (n, f)
    Y: Real  # (m, f)


class _Group(NamedTuple):
    """b rows of one padded length l. Where `held` is False, d and t are 0, so that padding changes nothing."""

    rows: Int  # (b,)
    held: NDArray[np.bool_]  # (b, l)
    entries: Int  # (b, l), positions in Rows.columns
    Z: Float  # (b, l, f)
    d: Float  # (b, l), what an entry adds to the quadratic term
    t: Float  # (b, l), what an entry adds to the linear term
    prior: Float  # (b, f), the diagonal that does not depend on the entries


def hu(alpha: float = 1.0, reg: float = 1.0) -> Objective:
    """The objective of Hu et al. 2008, c_ui = 1 + alpha r_ui. Raises ValueError unless alpha > 0 and reg > 0."""
    return _checked(Objective(alpha, reg, 1.0, 1.0, 0.0))


def ials(alpha: float = 1.0, reg: float = 0.01, unobserved: float = 1.0, nu: float = 1.0) -> Objective:
    """The objective of Rendle et al. 2022. `unobserved` is their alpha_0; alpha r_ui is 1 in their experiments.

    Raises ValueError unless alpha > 0, reg > 0, unobserved >= 0 and nu >= 0, all finite.
    """
    return _checked(Objective(alpha, reg, unobserved, 0.0, nu))


def _checked(objective: Objective) -> Objective:
    for name, value in objective._asdict().items():
        if name in ("alpha", "reg") and not 0 < value < np.inf:
            raise ValueError(f"{name} must be > 0, got {value}")
        if not 0 <= value < np.inf:
            raise ValueError(f"{name} must be >= 0, got {value}")
    return objective


def gram(Y: Real) -> Float:
    """Y'Y in float64, (f, f)."""
    total = np.zeros((Y.shape[1], Y.shape[1]))
    for at in range(0, len(Y), _ROWS):
        block = Y[at : at + _ROWS].astype(np.float64)
        total += block.T @ block
    return total


def basis(Y: Real, of: Float | None = None, size: int | None = None) -> Basis:
    """Turns Y (m, f) into the eigenbasis of Y'Y.

    If Y holds only some rows of a matrix, `of` is the Gram matrix of all of them and `size` their number.
    """
    eigenvalues, rotation = np.linalg.eigh(gram(Y) if of is None else of)
    factors = np.empty_like(Y)
    for at in range(0, len(Y), _ROWS):
        factors[at : at + _ROWS] = Y[at : at + _ROWS].astype(np.float64) @ rotation
    return Basis(factors, rotation, np.maximum(eigenvalues, 0.0), len(Y) if size is None else size)


def solve(other: Basis, rows: Rows, objective: Objective) -> Float:
    """The best vector of each row given the other side's factors, (n, f). A row without entries gets zeros.

    Folding in calls this function on a few rows. Training calls it on all rows, users and items in turns.
    """
    solved = np.zeros((len(rows.indptr) - 1, len(other.rotation)))
    for group in _groups(other, rows, objective):
        length, f = group.Z.shape[1:]
        solved[group.rows] = _short(group) if length < f else _long(group)
    # One product a row, since a product of all rows may round a row differently in another batch.
    return np.asarray((solved[:, None, :] @ other.rotation.T)[:, 0, :])


def _short(group: _Group) -> Float:
    """x = P^-1 Z' (I + D Z P^-1 Z')^-1 t, an l x l system. P is the diagonal prior."""
    root = np.sqrt(group.prior)[:, None, :]
    W = group.Z / root
    s = np.linalg.solve(_woodbury(W, group.d), group.t[..., None])
    return np.asarray((W.transpose(0, 2, 1) @ s)[..., 0] / root[:, 0])


def _woodbury(W: Float, d: Float) -> Float:
    """I + D W W', (b, l, l)."""
    K: Float = W @ W.transpose(0, 2, 1) * d[..., None]
    K[:, np.arange(K.shape[1]), np.arange(K.shape[1])] += 1.0
    return K


def _long(group: _Group) -> Float:
    """x = (P + Z' D Z)^-1 Z' t, an f x f system."""
    Zt = group.Z.transpose(0, 2, 1)
    return np.asarray(np.linalg.solve(_normal(group), Zt @ group.t[..., None])[..., 0])


def _normal(group: _Group) -> Float:
    """P + Z' D Z, (b, f, f)."""
    A = np.asarray(group.Z.transpose(0, 2, 1) @ (group.Z * group.d[..., None]))
    A[:, np.arange(A.shape[1]), np.arange(A.shape[1])] += group.prior
    return A


def contributions(other: Basis, rows: Rows, objective: Objective, items: Int) -> Float:
    """What each entry of a row adds to the scores of k items (Hu et al. section 5). The sum is exactly x_u'y_i.

    items (n, k), indices of the other side -> (entries, k). The column of a negative index has no meaning.
    """
    added = np.zeros((len(rows.columns), items.shape[1]))
    for group in _groups(other, rows, objective):
        length, f = group.Z.shape[1:]
        targets = other.factors[items[group.rows]].astype(np.float64).transpose(0, 2, 1)  # (b, f, k)
        shares = _short_shares(group, targets) if length < f else _long_shares(group, targets)
        added[group.entries[group.held]] = (shares * group.t[..., None])[group.held]
    return added


def _short_shares(group: _Group, targets: Float) -> Float:
    root = np.sqrt(group.prior)
    W = group.Z / root[:, None, :]
    inverse_of = _woodbury(W, group.d).transpose(0, 2, 1)
    return np.asarray(np.linalg.solve(inverse_of, W @ (targets / root[..., None])))


def _long_shares(group: _Group, targets: Float) -> Float:
    return np.asarray(group.Z @ np.linalg.solve(_normal(group), targets))


def _groups(other: Basis, rows: Rows, objective: Objective) -> Iterator[_Group]:
    for chosen, length in alike(np.diff(rows.indptr), len(other.rotation), _GATHERED):
        yield _gather(other, rows, objective, chosen, length)


def alike(lengths: Int, f: int, gathered: int) -> Iterator[tuple[Int, int]]:
    """Yields (rows, padded length): rows of one padded length, at most about `gathered` numbers of their factors.

    Empty rows are in no batch.
    """
    padded = padded_length(lengths)
    by_length = np.argsort(padded, kind="stable")
    by_length = by_length[lengths[by_length] > 0]
    starts = np.flatnonzero(np.diff(padded[by_length], prepend=-1))
    for chunk in np.split(by_length, starts[1:]) if len(by_length) else []:
        length = int(padded[chunk[0]])
        at_a_time = max(1, gathered // (length * f))
        for at in range(0, len(chunk), at_a_time):
            yield chunk[at : at + at_a_time], length


def padded_length(lengths: Int) -> Int:
    """The length to which a history is padded: the next multiple of 4; from 64 on, of an eighth of a power of two.

    That power is the greatest one that is not above the length.
    """
    _, exponents = np.frexp(lengths)
    step = np.maximum(4, 1 << np.maximum(exponents - 4, 0)).astype(np.int64)
    return -(-lengths // step) * step


def _gather(other: Basis, rows: Rows, objective: Objective, chosen: Int, length: int) -> _Group:
    first, lengths = rows.indptr[chosen], rows.indptr[chosen + 1] - rows.indptr[chosen]
    held = np.arange(length) < lengths[:, None]
    entries = np.where(held, first[:, None] + np.arange(length), first[:, None])
    d = np.where(held, objective.alpha * rows.strengths[entries], 0.0)
    t = np.where(held, d + objective.unobserved * objective.target, 0.0)
    reg = objective.reg * (lengths + objective.unobserved * other.size) ** objective.nu
    prior = objective.unobserved * other.eigenvalues + reg[:, None]
    return _Group(chosen, held, entries, other.factors[rows.columns[entries]].astype(np.float64), d, t, prior)


def ranges(starts: Int, ends: Int) -> Int:
    """The numbers from each start up to its end, one range after the other: the entries of some rows."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.repeat(starts - before, lengths) + np.arange(int(lengths.sum())), np.int64)


def initial(size: int, factors: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The factors with which training begins, (size, factors), of norm about .1 (Rendle et al. 2022, section 4.4)."""
    start = rng.standard_normal((size, factors)) * (0.1 / np.sqrt(factors))
    return np.asarray(start, np.float32)


def train(R: Rows, Y: Real, iterations: int, objective: Objective) -> Iterator[Factors]:
    """Yields the factors after each iteration. Y (m, f): `initial` ones, or older ones for a warm start."""
    transposed = transpose(R, len(Y))
    for _ in range(iterations):
        X = solve(basis(Y), R, objective).astype(Y.dtype)
        Y = solve(basis(X), transposed, objective).astype(Y.dtype)
        yield Factors(X, Y)


def transpose(rows: Rows, columns: int) -> Rows:
    """The same entries by column: `columns` rows, whose columns are the old rows in ascending order."""
    order = np.argsort(rows.columns, kind="stable")
    owners = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows.columns, minlength=columns))]).astype(np.int64)
    return Rows(indptr, owners[order], rows.strengths[order])
