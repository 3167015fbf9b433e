"""Off-policy evaluation: what a policy would have earned, estimated from the log of another policy.

In decision i of n, the logging policy mu took arm a_i in context x_i with probability mu(a_i | x_i), the propensity,
and reward r_i followed. pi is the policy to evaluate, and w_i = pi(a_i | x_i) / mu(a_i | x_i) is its weight. q is a
model of the reward, and q(x_i, pi) = sum over a of pi(a | x_i) q(x_i, a) is what it expects of pi.

    ips        mean of w r                                     Horvitz, Thompson 1952
    snips      sum of w r / sum of w                           Swaminathan, Joachims 2015 (NIPS), self-normalised
    dm         mean of q(x, pi)                                the direct method, as named by Dudik, Langford, Li 2011
    dr         mean of q(x, pi) + w (r - q(x, a))              Dudik, Langford, Li 2011 (arXiv:1103.4601); with
                                                               Erhan 2014 (arXiv:1503.02834) for a stochastic pi
    switch_dr  dr with w [w <= tau] for w                      Wang, Agarwal, Dudik 2017 (arXiv:1612.01205)
    dr_os      dr with lambda w / (w^2 + lambda) for w         Su, Dimakopoulou, Krishnamurthy, Dudik 2020
                                                               (arXiv:1907.09623), optimistic shrinkage

ips and dr are unbiased if the propensities are right and mu takes every arm that pi takes. `diagnostics` says how far
to believe that. A model that was fitted to the log it evaluates flatters pi, so predict each decision by a model that
has not seen it. Rewards keep their unit; probabilities, weights, tau and lambda have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]  # (n,)
Matrix = NDArray[np.float64]  # (n, k): a row for each decision, a column for each arm

_TOLERANCE = 1e-6  # of probabilities that were summed up
_DRAWS_AT_ONCE = 1_000_000  # rows of the bootstrap in memory at a time


@dataclass(frozen=True, eq=False)
class DecisionLog:
    """n decisions of the logging policy, and what the evaluated policy and the model say about them.

    Raises ValueError if a column has another shape or a value out of range.
    """

    reward: Column
    propensity: Column  # mu(a | x), in (0, 1]
    target: Column  # pi(a | x) of the logged arm, in [0, 1]
    predicted: Column | None = None  # q(x, a) of the logged arm; with `expected` or not at all
    expected: Column | None = None  # q(x, pi)

    def __post_init__(self) -> None:
        shape = (np.size(self.reward),)
        _must(shape > (0,), "reward", "hold at least one decision", 0)
        for name in ("reward", "propensity", "target"):
            _check_column(name, getattr(self, name), shape)
        if self.predicted is not None or self.expected is not None:
            _check_column("predicted", self.predicted, shape)
            _check_column("expected", self.expected, shape)
        _check_rows("propensity", "be in (0, 1]", self.propensity, (self.propensity > 0) & (self.propensity <= 1))
        _check_rows("target", "be in [0, 1]", self.target, (self.target >= 0) & (self.target <= 1 + _TOLERANCE))

    @classmethod
    def of_arms(
        cls,
        arm: NDArray[np.integer[Any]],
        reward: Column,
        propensity: Column,
        policy: Matrix,
        model: Matrix | None = None,
    ) -> "DecisionLog":
        """Makes a log from the columns of the logged arms (n,), pi(a | x_i) in `policy` and q(x_i, a) in `model`.

        policy and model: (n, k). Raises ValueError as Log does, or if a row of `policy` is no distribution.
        """
        n, k = len(arm), np.shape(policy)[-1]
        _must(np.shape(policy) == (n, k), "policy", f"have shape ({n}, k)", np.shape(policy))
        _check_rows("arm", f"be in [0, {k})", arm, (arm >= 0) & (arm < k))
        least, total = policy.min(axis=1), policy.sum(axis=1)
        _check_rows("policy", "be >= 0", least, least >= 0)
        _check_rows("policy", "sum to 1 over the arms", total, np.abs(total - 1) <= _TOLERANCE)
        logged = np.arange(n), arm
        if model is None:
            return cls(reward, propensity, policy[logged])
        _must(np.shape(model) == (n, k), "model", f"have shape ({n}, {k})", np.shape(model))
        return cls(reward, propensity, policy[logged], model[logged], np.einsum("nk,nk->n", policy, model))

    @property
    def weight(self) -> Column:
        return self.target / self.propensity


class Diagnostics(NamedTuple):
    effective_sample_size: float  # (sum of w)^2 / sum of w^2 decisions, Kish 1965. Far below n: believe little
    weight_max: float
    weight_mean: float  # 1 but for chance, if the propensities are right and mu takes every arm that pi takes


class Interval(NamedTuple):
    low: float
    high: float


class Estimate(NamedTuple):
    """A ratio of two sums over the log. It keeps their terms, (n,) each, which intervals and groups need."""

    numerator: Column
    denominator: Column  # ones; for snips the weights

    @property
    def value(self) -> float:
        return float(self.numerator.sum() / self.denominator.sum())

    @property
    def standard_error(self) -> float:
        """The standard error for independent decisions; of a ratio, to first order (delta method)."""
        n = len(self.numerator)
        residual = self.numerator - self.value * self.denominator
        return float(np.sqrt(residual @ residual * n / (n - 1)) / self.denominator.sum()) if n > 1 else np.inf

    def by(self, group: NDArray[Any]) -> "Estimate":
        """The same estimate with one term per group (n,), such as slate or user.

        Decisions of one group are not independent, so intervals need groups. Raises ValueError for another shape.
        """
        _must(np.shape(group) == self.numerator.shape, "group", f"have shape {self.numerator.shape}", np.shape(group))
        _, index = np.unique(group, return_inverse=True)
        sums = (np.bincount(index, column).astype(np.float64) for column in self)
        return Estimate(*sums)


def diagnostics(log: DecisionLog) -> Diagnostics:
    w = log.weight
    total, squares = float(w.sum()), float(w @ w)
    return Diagnostics(total**2 / squares if squares else 0.0, float(w.max()), float(w.mean()))


def ips(log: DecisionLog) -> Estimate:
    return _mean_of(log.weight * log.reward)


def snips(log: DecisionLog) -> Estimate:
    w = log.weight
    _must(w.any(), "target", "be > 0 for some decision", 0.0)
    return Estimate(w * log.reward, w)


def dm(log: DecisionLog) -> Estimate:
    return _mean_of(_model(log)[1])


def dr(log: DecisionLog) -> Estimate:
    return _corrected(log, log.weight)


def switch_dr(log: DecisionLog, tau: float) -> Estimate:
    """Takes the model alone where w > tau: dm at tau = 0, dr at infinity.

    Raises ValueError unless tau >= 0 and the log has a model.
    """
    _must(tau >= 0, "tau", "be >= 0", tau)
    w = log.weight
    return _corrected(log, np.where(w <= tau, w, 0.0))


def dr_os(log: DecisionLog, lambda_: float) -> Estimate:
    """Shrinks the weights: dm as lambda -> 0, dr at infinity, no weight above sqrt(lambda) / 2.

    Raises ValueError unless lambda_ > 0 and the log has a model.
    """
    _must(lambda_ > 0, "lambda_", "be > 0", lambda_)
    w = log.weight
    return _corrected(log, w / (1 + w**2 / lambda_))  # the paper's form, divided by lambda, holds at infinity


def bootstrap(
    estimate: Estimate, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 1000
) -> Interval:
    """The percentile interval (Efron 1979) over resamples of decisions, or of groups after `Estimate.by`.

    Raises ValueError unless 0 < confidence < 1 and resamples > 0, or if all terms of a resample have weight 0.
    """
    _must(0 < confidence < 1, "confidence", "be in (0, 1)", confidence)
    _must(resamples > 0, "resamples", "be > 0", resamples)
    n = len(estimate.numerator)
    at_once = max(1, _DRAWS_AT_ONCE // n)
    sizes = (min(at_once, resamples - done) for done in range(0, resamples, at_once))
    values = np.concatenate([_resampled(estimate, rng.integers(n, size=(size, n))) for size in sizes])
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def slope(candidates: Sequence[Estimate], confidence: float = 0.9) -> int:
    """Chooses among the candidates of an estimator, such as several tau. Returns an index. Raises ValueError for none.

    SLOPE of Su, Srinath, Krishnamurthy 2020 (arXiv:2002.07729) with the test of Tucker, Lee 2021 (SLOPE++): in falling
    order of width c, take the last candidate before the first j with |v_j - v_i| > c_j + (sqrt(6) - 1) c_i for an
    earlier i. It presumes that bias grows as width falls. Where we differ: c is one-sided at `confidence` of the normal
    distribution (0.5 < confidence < 1), not of Student's t; that is 0.7 % less at 100 decisions.
    """
    _must(len(candidates) > 0, "candidates", "hold at least one estimate", 0)
    _must(0.5 < confidence < 1, "confidence", "be in (0.5, 1)", confidence)
    quantile = NormalDist().inv_cdf(confidence)
    width = np.array([quantile * candidate.standard_error for candidate in candidates])
    value = np.array([candidate.value for candidate in candidates])
    order = np.argsort(-width, kind="stable")
    for place, j in enumerate(order):
        before = order[:place]
        if (np.abs(value[j] - value[before]) > width[j] + (np.sqrt(6) - 1) * width[before]).any():
            return int(order[place - 1])
    return int(order[-1])


def _mean_of(terms: Column) -> Estimate:
    return Estimate(terms, np.ones(len(terms)))


def _corrected(log: DecisionLog, weight: Column) -> Estimate:
    """The terms q(x, pi), corrected by the model's errors on the logged arms under these weights."""
    predicted, expected = _model(log)
    return _mean_of(expected + weight * (log.reward - predicted))


def _model(log: DecisionLog) -> tuple[Column, Column]:
    if log.predicted is None or log.expected is None:
        raise ValueError("predicted and expected: this estimator needs a model, got None")
    return log.predicted, log.expected


def _resampled(estimate: Estimate, drawn: NDArray[np.int64]) -> Column:
    """The value of each resample: drawn (resamples, n) -> (resamples,)."""
    total = estimate.denominator[drawn].sum(axis=1)
    _must(total.all(), "denominator", "be > 0 in each resample: too few decisions carry weight", 0.0)
    values: Column = estimate.numerator[drawn].sum(axis=1) / total
    return values


def _check_column(name: str, column: Any, shape: tuple[int, ...]) -> None:
    _must(column is not None, name, "be given, since the model's other column is", None)
    _must(np.shape(column) == shape, name, f"have shape {shape}", np.shape(column))
    _check_rows(name, "be finite", column, np.isfinite(column))


def _check_rows(name: str, rule: str, column: NDArray[Any], fine: NDArray[np.bool_]) -> None:
    if not fine.all():
        row = int(np.argmin(fine))
        raise ValueError(f"{name} must {rule}, got {column[row]} in decision {row}")


def _must(fine: bool | np.bool_, name: str, rule: str, got: object) -> None:
    if not fine:
        raise ValueError(f"{name} must {rule}, got {got}")
