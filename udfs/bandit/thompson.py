"""Linear Thompson sampling: pick the arm whose sampled reward is highest.

Agrawal, Goyal 2013 (arXiv:1209.3352), Algorithm 1: theta ~ N(theta_hat, v^2 A^-1). Where we differ: each arm has its
own theta, as in disjoint LinUCB, and a fresh one is drawn per position of a slate. So a score theta_a . x is normal and
independent of the others, and the probability that an arm is picked is the integral

    P(a is highest) = integral of phi((s - m_a) / s_a) / s_a  prod_{j != a} Phi((s - m_j) / s_j)  ds

`best_chances` computes it by quadrature. HybridThompson draws from the hybrid model (udfs/bandit/hybrid_linucb.py),
whose scores are correlated. Its probability is the share of Monte Carlo draws, logged with its standard error.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, exp, log, pi, sqrt

import numpy as np

from headrace.udfs.bandit.arms import Floats, Posterior, means, variances
from headrace.udfs.bandit.hybrid_linucb import Common, joint
from headrace.udfs.bandit.slate import Chances, Left, exact

_REACH = 8.5  # standard deviations; beyond them a normal has less than 1e-16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)  # per panel of the smallest standard deviation in reach
_LOWEST, _PER_UNIT = -37.0, 64  # Phi(-37) is near the smallest float64
_GRID = np.arange(_LOWEST, 9.0, 1 / _PER_UNIT)
_LOG_CDF = np.array([log(erfc(-z / sqrt(2)) / 2) for z in _GRID.tolist()])
_SLOPE = np.array([exp(-z * z / 2 - c) for z, c in zip(_GRID.tolist(), _LOG_CDF.tolist(), strict=True)]) / sqrt(2 * pi)


@dataclass(frozen=True)
class Thompson:
    v: float = 0.5  # scale of the posterior's standard deviation

    def __post_init__(self) -> None:
        _require_scale(self.v)

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        mean, sd = means(arms, X), self.v * np.sqrt(variances(arms, X))

        def chances(left: Left) -> Chances:
            p = np.zeros(len(mean))
            p[left] = best_chances(mean[left], sd[left])
            return exact(p)

        return chances


@dataclass(frozen=True)
class HybridThompson:
    """Thompson sampling over a Common. Its chances come from `draws` Monte Carlo draws per slate."""

    common: Common
    v: float = 0.5
    draws: int = 10_000

    def __post_init__(self) -> None:
        _require_scale(self.v)
        if self.draws < 100:
            raise ValueError(f"draws must be >= 100, got {self.draws}")

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        scores = joint(arms, X, self.common)
        root = scores.Q @ np.linalg.cholesky(self.common.A0_inv)
        sampled = rng.standard_normal((self.draws, root.shape[1])) @ root.T
        sampled += rng.standard_normal(sampled.shape) * np.sqrt(scores.own)
        sampled = scores.mean + self.v * sampled

        def chances(left: Left) -> Chances:
            winners = np.argmax(np.where(left, sampled, -np.inf), axis=1)
            p = np.bincount(winners, minlength=len(left)) / self.draws
            return Chances(p, np.sqrt(p * (1 - p) / self.draws))

        return chances


def best_chances(mean: Floats, sd: Floats) -> Floats:
    """The probability that each of k independent normals is the highest, (k,), to about 1e-9.

    mean, sd (k,). An sd may be 0; ties share the probability.
    """
    sd = np.maximum(sd, max(1e-9 * sd.max(), 1e-12 * max(1.0, np.abs(mean).max())))
    low = (mean - _REACH * sd).max()  # the highest is certain to be above
    chances = np.zeros(len(mean))
    able = np.flatnonzero(mean + _REACH * sd > low)
    edges = np.array(_panels(mean[able], sd[able], low))
    half = np.diff(edges) / 2
    s = ((edges[:-1] + half)[:, None] + half[:, None] * _NODES).ravel()
    z = (s[:, None] - mean[able]) / sd[able]
    log_cdf = log_normal_cdf(z)
    others = np.exp(log_cdf.sum(axis=1, keepdims=True) - log_cdf)
    density = np.exp(-z * z / 2) / (sd[able] * sqrt(2 * pi))
    chances[able] = (half[:, None] * _WEIGHTS).ravel() @ (density * others)
    total: Floats = chances / chances.sum()
    return total


def log_normal_cdf(z: Floats) -> Floats:
    """log Phi(z) by cubic Hermite interpolation on a grid of 1/64, in the shape of z.

    The relative error of Phi is below 1e-9 for z >= -37; below that the result is constant.
    """
    place = np.clip((z - _LOWEST) * _PER_UNIT, 0.0, len(_GRID) - 1.000001)
    i = place.astype(np.int64)
    t = place - i
    u = 1 - t
    slopes = (_SLOPE[i] * u - _SLOPE[i + 1] * t) * (t * u / _PER_UNIT)
    value: Floats = _LOG_CDF[i] * u * u * (1 + 2 * t) + _LOG_CDF[i + 1] * t * t * (3 - 2 * t) + slopes
    return value


def _panels(mean: Floats, sd: Floats, low: float) -> list[float]:
    """The edges of the panels, from `low` up. Each panel is as wide as the smallest sd of the normals that reach it.

    All normals reach down to `low`, so a small sd costs some 17 panels at most, however small it is.
    """
    reach = mean + _REACH * sd
    order = np.argsort(reach)
    ends = reach[order].tolist()
    smallest = np.minimum.accumulate(sd[order][::-1])[::-1].tolist()
    edges = [float(low)]
    while edges[-1] < ends[-1]:
        edges.append(edges[-1] + smallest[bisect_right(ends, edges[-1])])
    return edges


def _require_scale(v: float) -> None:
    if not v >= 0:
        raise ValueError(f"v must be >= 0, got {v}")
