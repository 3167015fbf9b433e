"""What mechanisms cost: (epsilon, delta) of all mechanisms that were applied to a population.

udfs/federated/mechanisms.py has their records. A sum of n discrete Gaussians is close to a discrete Gaussian, but is
not one. Kairouz, Liu, Steinke 2021 (arXiv:2102.06387), Proposition 14, bounds its Renyi divergence of every order
alpha, where the part of one node has the norms D1, D2 in d integers:

    min( alpha/2 x^2 + tau d,  alpha/2 (x^2 + 2 tau D1 / (sqrt(n) sigma) + tau^2 d),  alpha/2 (x + tau sqrt(d))^2 )
    x = D2 / (sqrt(n) sigma)        tau = 10 sum_{k=1}^{n-1} exp(-2 pi^2 sigma^2 k / (k+1))

D2 is the bound that conditional rounding keeps (their Theorem 1; `rounded_norm` in udfs/federated/round_arithmetic.py).
D1 <= min(sqrt(d) D2, D2^2), since the numbers are integers. Divergences of one order add up over adaptive rounds
(Mironov 2017, Proposition 1). (epsilon, delta) follows by Canonne, Kamath, Steinke 2020 (arXiv:2004.00010),
Proposition 12, at the best of many orders.

Nodes above the quorum add more noise, which is post-processing and costs nothing. We claim no amplification by
sampling, because the aggregator sees who takes part.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.federated.discrete_gaussian import SIGMA_MAX
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint, Mechanism
from headrace.udfs.federated.round_arithmetic import rounded_norm

Float = NDArray[np.float64]

ORDERS: Float = 1.0 + np.geomspace(1e-3, 1e6, 4001)


class Budget(NamedTuple):
    """What may be spent on one population in all. A node in two populations pays in both, so keep them disjoint."""

    epsilon: float
    delta: float


def epsilon(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """The epsilon of all mechanisms together, where each may have been chosen after the results of the earlier ones.

    Raises ValueError unless 0 < delta < 1.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    if not mechanisms:
        return 0.0
    return convert(np.sum([count * renyi(each) for each, count in Counter(mechanisms).items()], axis=0), delta)


def projected(past: Sequence[Mechanism], coming: Mechanism, delta: float, rounds: int = 1) -> float:
    """The epsilon if `rounds` more rounds were opened."""
    return epsilon([*past, *[coming] * rounds], delta)


def refusal(past: Sequence[Mechanism], coming: Mechanism, budget: Budget) -> str:
    """Why the round may not be opened. Empty if it may."""
    spent = projected(past, coming, budget.delta)
    if spent <= budget.epsilon:
        return ""
    return f"epsilon must stay <= {budget.epsilon:g} at delta {budget.delta:g}, the round would make it {spent:.4g}"


def renyi(mechanism: Mechanism) -> Float:
    """Bounds the Renyi divergence at each of ORDERS, in both directions between neighbouring populations."""
    if isinstance(mechanism, Disjoint):  # a node is in one part alone
        return np.asarray(np.max([renyi(part) for part in mechanism.parts], axis=0))
    return _of_sum(mechanism)


def _of_sum(done: DiscreteGaussianSum) -> Float:
    if done.node_sigma == 0:
        return np.full(len(ORDERS), math.inf)
    D2, d = rounded_norm(done), done.dimension
    D1 = min(math.sqrt(d) * D2, D2**2)
    spread = math.sqrt(done.quorum) * done.node_sigma
    x, tau = D2 / spread, discreteness(done.node_sigma, done.quorum)
    apart = ORDERS / 2 * x**2 + tau * d
    joint = ORDERS / 2 * min(x**2 + 2 * tau * D1 / spread + tau**2 * d, (x + tau * math.sqrt(d)) ** 2)
    return np.minimum(apart, joint)


def discreteness(sigma: float, n: int) -> float:
    """tau: a bound of the distance between a sum of n discrete Gaussians and a discrete Gaussian."""
    k = np.arange(1, n)
    return float(10 * np.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)).sum())


def convert(divergences: Float, delta: float) -> float:
    """The least epsilon that the divergences at ORDERS prove."""
    epsilons = divergences + np.log1p(-1 / ORDERS) - (math.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return max(0.0, float(epsilons.min()))


def calibrate(budget: Budget, rounds: int, wanted: DiscreteGaussianSum) -> DiscreteGaussianSum:
    """`wanted` with the least noise for which `rounds` rounds keep to the budget.

    Raises ValueError if even the most noise does not.
    """
    low, high = 0, SIGMA_MAX  # too little, enough
    if epsilon([wanted._replace(node_sigma=high)] * rounds, budget.delta) > budget.epsilon:
        raise ValueError(f"budget must allow {rounds} rounds with sigma {high}, got {budget}")
    while high - low > 1:
        middle = (low + high) // 2
        enough = epsilon([wanted._replace(node_sigma=middle)] * rounds, budget.delta) <= budget.epsilon
        low, high = (low, middle) if enough else (middle, high)
    return wanted._replace(node_sigma=high)
