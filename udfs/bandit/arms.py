"""What is known of each arm: exact sums over its impressions, and the ridge regression that they determine.

For one (policy, arm), over its impressions with context x, reward r and weight w (+1 enters, -1 retracts):

    A = sum w x x'  (d, d), no ridge        b = sum w r x  (d,)        n = sum w
    A_inv = (A + ridge I)^-1                theta = A_inv b

A, b and theta are those of Li, Chu, Langford, Schapire 2010 (arXiv:1003.0146), except that their A includes the ridge.
Contexts are multiples of 2^-12 within [-8, 8] and rewards within [-16, 16]. So every sum is exact in float64 up to 4
million impressions of an arm: no batching, order or retraction changes a bit of it. docs/bandit.md has the packed
layout.
"""

from collections.abc import Hashable, Mapping, Sequence
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
CONTEXT_MAX = 8.0
REWARD_MAX = 16.0
_STEPS = 4096.0  # steps of `quantise` in 1
_PART = 128  # arms solved at once: thousands leave the cache and take twice as long


class Statistics(NamedTuple):
    """The sums of k arms."""

    A: Floats  # (k, d, d)
    b: Floats  # (k, d)
    n: Floats  # (k,)


class Posterior(NamedTuple):
    """The ridge regressions of k arms, or of one arm, without the first axis."""

    theta: Floats  # (k, d)
    A_inv: Floats  # (k, d, d)
    n: Floats  # (k,)


def quantise(values: ArrayLike, bound: float = CONTEXT_MAX) -> Floats:
    """Rounds values to multiples of 2^-12 (halves go up) and clips them to [-bound, bound]. Keeps the shape."""
    steps = np.floor(np.asarray(values, np.float64) * _STEPS + 0.5)
    rounded: Floats = np.clip(steps / _STEPS, -bound, bound)
    return rounded


def partials(
    arms: Sequence[Hashable], X: ArrayLike, w: ArrayLike, r: ArrayLike
) -> tuple[NDArray[np.int64], Statistics]:
    """Sums m impressions by arm: (the row in which each of the k arms comes first, (k,), and their statistics).

    arms (m,), X (m, d), w (m,), r (m,). An arm may be any key, such as (policy, item, period).
    """
    code_of: dict[Hashable, int] = {}
    codes = np.array([code_of.setdefault(arm, len(code_of)) for arm in arms], np.int64)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    ends = np.cumsum(sizes)
    x = quantise(X)[order]
    weight = np.asarray(w, np.float64)[order]
    xr = np.column_stack([x, quantise(r, REWARD_MAX)[order], np.ones(len(x))])
    weighted = np.column_stack([x, np.ones(len(x))]) * weight[:, None]
    sums = np.empty((len(code_of), x.shape[1] + 1, x.shape[1] + 2))
    # A product per arm: 5 times as fast as summing the outer products of all rows by segment, which no cache holds.
    for arm, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        np.dot(weighted[start:end].T, xr[start:end], out=sums[arm])
    return order[ends - sizes], Statistics(sums[:, :-1, :-2], sums[:, :-1, -2], sums[:, -1, -1])


def pack(statistics: Statistics) -> list[bytes]:
    """Packs each arm: A's upper triangle row by row, b, n; little-endian float64."""
    return _pack(statistics.A, statistics.b, statistics.n)


def unpack(packed: Sequence[bytes]) -> Statistics:
    """Reads what `pack` wrote. Raises ValueError if the lengths are not those of packed arms."""
    return Statistics(*_unpack(packed))


def pack_posterior(posterior: Posterior) -> list[bytes]:
    """Packs each arm as Redis holds it: A_inv's upper triangle row by row, theta, n; little-endian float64."""
    return _pack(posterior.A_inv, posterior.theta, posterior.n)


def unpack_posterior(packed: Sequence[bytes]) -> Posterior:
    """Reads what `pack_posterior` wrote. Raises ValueError if the lengths are not those of packed arms."""
    A_inv, theta, n = _unpack(packed)
    return Posterior(theta, A_inv, n)


def merge(packed: Sequence[bytes]) -> bytes:
    """Adds up packed statistics of one arm. Order and grouping do not matter."""
    return _bytes(_rows(packed).sum(axis=0))


def forget(by_period: Mapping[int, bytes], periods: int) -> bytes:
    """Packed statistics of one arm with a half-life of one period, from those of each period.

    The sum over p of 2^-(newest - p) S_p, for the `periods` newest. `newest` is the arm's own highest period, so the
    result is a function of the log. A retraction goes to the period of its impression and stays exact.
    Raises ValueError unless periods >= 1.
    """
    if periods < 1:
        raise ValueError(f"periods must be >= 1, got {periods}")
    newest = max(by_period)
    kept = sorted(p for p in by_period if newest - p < periods)
    halvings = np.array([newest - p for p in kept], np.float64)
    return _bytes((_rows([by_period[p] for p in kept]) * 0.5 ** halvings[:, None]).sum(axis=0))


def solve(statistics: Statistics, ridge: float) -> Posterior:
    """The ridge regressions of k arms. Raises ValueError unless ridge > 0."""
    _require_positive(ridge)
    k, d = statistics.b.shape
    eye = np.eye(d)
    right = np.concatenate([np.broadcast_to(eye, (k, d, d)), statistics.b[:, :, None]], axis=2)
    solution = np.linalg.solve(statistics.A + ridge * eye, right)
    A_inv = solution[:, :, :d]
    return Posterior(solution[:, :, d], (A_inv + A_inv.transpose(0, 2, 1)) / 2, np.array(statistics.n))


def solve_packed(packed: Sequence[bytes], ridge: float) -> list[bytes]:
    """The packed posterior of each arm, from its packed statistics."""
    parts = (packed[at : at + _PART] for at in range(0, len(packed), _PART))
    return [each for part in parts for each in pack_posterior(solve(unpack(part), ridge))]


def stack(posteriors: Mapping[str, Posterior], arms: Sequence[str], d: int, ridge: float) -> Posterior:
    """The posteriors of `arms` (k,). An arm without one gets the prior.

    Raises ValueError unless ridge > 0 and each posterior has d values.
    """
    _require_positive(ridge)
    prior = Posterior(np.zeros(d), np.eye(d) / ridge, np.zeros(()))
    chosen = [posteriors.get(arm, prior) for arm in arms]
    for arm, posterior in zip(arms, chosen, strict=True):
        if posterior.theta.shape != (d,):
            raise ValueError(f"theta must have {d} values as the context, got {posterior.theta.size} for arm {arm!r}")
    return Posterior(*(np.stack(columns) for columns in zip(*chosen, strict=True)))


def means(arms: Posterior, X: Floats) -> Floats:
    """theta_a . x_a, shape (k,), for contexts X (k, d)."""
    product: Floats = np.einsum("kd,kd->k", arms.theta, X)
    return product


def variances(arms: Posterior, X: Floats) -> Floats:
    """x_a' A_a^-1 x_a, shape (k,), for contexts X (k, d)."""
    product: Floats = np.einsum("kd,kde,ke->k", X, arms.A_inv, X)
    return np.maximum(product, 0.0)


def _require_positive(ridge: float) -> None:
    if not ridge > 0:
        raise ValueError(f"ridge must be > 0, got {ridge}")


def _pack(square: Floats, vector: Floats, n: Floats) -> list[bytes]:
    rows, columns = np.triu_indices(vector.shape[1])
    return [_bytes(row) for row in np.column_stack([square[:, rows, columns], vector, n])]


def _bytes(row: Floats) -> bytes:
    return (row + 0.0).astype("<f8").tobytes()  # + 0.0: -0.0 and 0.0 are equal sums and must be equal bytes


def _rows(packed: Sequence[bytes]) -> Floats:
    """The numbers of packed arms of one length, (k, (d + 1) (d + 2) / 2)."""
    sizes = {len(each) for each in packed}
    if len(sizes) != 1:
        raise ValueError(f"packed arms must all have one length, got {sorted(sizes)} bytes")
    return np.frombuffer(b"".join(packed), "<f8").reshape(len(packed), -1).astype(np.float64)


def _unpack(packed: Sequence[bytes]) -> tuple[Floats, Floats, Floats]:
    size = len(packed[0]) // 8 if packed else 0
    d = (isqrt(8 * size + 1) - 3) // 2
    if d < 1 or (d + 1) * (d + 2) // 2 * 8 != len(packed[0]):
        raise ValueError(f"a packed arm must have 4 (d + 1) (d + 2) bytes, got {len(packed[0]) if packed else 0}")
    values = _rows(packed)
    rows, columns = np.triu_indices(d)
    square = np.empty((len(packed), d, d))
    square[:, rows, columns] = square[:, columns, rows] = values[:, : len(rows)]
    return square, values[:, len(rows) : -1], values[:, -1]
