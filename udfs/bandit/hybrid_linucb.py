"""Hybrid LinUCB: a regression shared by all arms plus one of each arm, so that a new item is not blind.

Li, Chu, Langford, Schapire 2010 (arXiv:1003.0146), Algorithm 2: r = z . beta + x . theta_a + noise. Each arm keeps
its sums over one vector v (udfs/bandit/arms.py). x = v[own] and z = v[shared] may overlap, and the paper's A_a, B_a and
b_a are blocks of these sums. If both x and z are all of v, an arm is the common regression plus its own deviation.

    A_0 = ridge I + sum_a (S_zz - B_a' A_a^-1 B_a)      b_0 = sum_a (s_z - B_a' A_a^-1 b_a)      beta = A_0^-1 b_0

Where we differ: beta is fitted when statistics are read, not at each reward, and ridge need not be 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace.udfs.bandit.arms import Floats, Posterior, stack
from headrace.udfs.bandit.slate import Chances, Left, best


class Common(NamedTuple):
    """What all arms share. own (x,) and shared (z,): indices in the context."""

    beta: Floats  # (z,)
    A0_inv: Floats  # (z, z)
    own: tuple[int, ...]
    shared: tuple[int, ...]
    ridge: float


class Joint(NamedTuple):
    """The normal posterior of k scores, with the covariance Q A0_inv Q' + diag(own)."""

    mean: Floats  # (k,)
    Q: Floats  # (k, z)
    own: Floats  # (k,)


class _Blocks(NamedTuple):
    """The paper's A_a^-1, B_a, b_a and A_a^-1 B_a, of k arms."""

    A_inv: Floats  # (k, x, x)
    B: Floats  # (k, x, z)
    b: Floats  # (k, x)
    solved: Floats  # (k, x, z)


def fit(
    posteriors: Mapping[str, Posterior], d: int, ridge: float, own: Sequence[int] = (), shared: Sequence[int] = ()
) -> Common:
    """Fits beta and A_0^-1 to all arms of the policy, with contexts (d,).

    An empty own or shared means the whole context. Raises ValueError if they are not indices of it.
    """
    places = tuple(own) or tuple(range(d)), tuple(shared) or tuple(range(d))
    if any(not 0 <= place < d for place in (*places[0], *places[1])):
        raise ValueError(f"own and shared must be places within 0..{d - 1}, got {places}")
    z = len(places[1])
    prior = Common(np.zeros(z), np.eye(z) / ridge, *places, ridge)
    if not posteriors:
        return prior
    arms = stack(posteriors, sorted(posteriors), d, ridge)
    A, b = _sums(arms, ridge)
    blocks = _blocks(A, b, prior)
    transposed = blocks.solved.transpose(0, 2, 1)
    at = list(places[1])
    A0 = ridge * np.eye(z) + (A[:, at][:, :, at] - transposed @ blocks.B).sum(axis=0)
    b0 = (b[:, at] - (transposed @ blocks.b[:, :, None])[:, :, 0]).sum(axis=0)
    return prior._replace(beta=np.linalg.solve(A0, b0), A0_inv=np.linalg.inv((A0 + A0.T) / 2))


def joint(arms: Posterior, X: Floats, common: Common) -> Joint:
    """The scores of k candidates with contexts X (k, d). The variance is the paper's s, with q = z - B_a' A_a^-1 x."""
    blocks = _blocks(*_sums(arms, common.ridge), common)
    x, z = X[:, list(common.own)], X[:, list(common.shared)]
    theta = np.einsum("kxy,ky->kx", blocks.A_inv, blocks.b - blocks.B @ common.beta)
    mean = z @ common.beta + np.einsum("kx,kx->k", x, theta)
    own = np.einsum("kx,kxy,ky->k", x, blocks.A_inv, x)
    return Joint(mean, z - np.einsum("kxz,kx->kz", blocks.solved, x), np.maximum(own, 0.0))


@dataclass(frozen=True)
class HybridLinUCB:
    common: Common
    alpha: float = 1.0  # standard deviations

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ValueError(f"alpha must be >= 0, got {self.alpha}")

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        scores = joint(arms, X, self.common)
        variance = scores.own + np.einsum("kz,zy,ky->k", scores.Q, self.common.A0_inv, scores.Q)
        return best(scores.mean + self.alpha * np.sqrt(np.maximum(variance, 0.0)))


def _sums(arms: Posterior, ridge: float) -> tuple[Floats, Floats]:
    """Recovers A without ridge (k, d, d) and b (k, d) from the posteriors, since readers have no others."""
    precision = np.linalg.inv(arms.A_inv)
    return precision - ridge * np.eye(precision.shape[-1]), np.einsum("kde,ke->kd", precision, arms.theta)


def _blocks(A: Floats, b: Floats, common: Common) -> _Blocks:
    own, shared = list(common.own), list(common.shared)
    A_inv = np.linalg.inv(A[:, own][:, :, own] + common.ridge * np.eye(len(own)))
    B = A[:, own][:, :, shared]
    return _Blocks(A_inv, B, b[:, own], A_inv @ B)
