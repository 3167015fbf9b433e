"""The accountant: its bound against the divergences of convolved distributions; its conversion between neighbours.

The published formulas that must lie on either side are Bun and Steinke 2016 (Proposition 1.3), above, and the exact
privacy of the continuous Gaussian by Balle and Wang 2018 (Theorem 8), below.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.federated import accountant
from headrace.udfs.federated.accountant import ORDERS, Budget
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint
from headrace.udfs.federated.round_arithmetic import rounded_norm

ROUND = DiscreteGaussianSum(dimension=1000, clip=1.0, scale=400.0, node_sigma=100, quorum=50)
Float = NDArray[np.float64]


def summed_pmf(sigma: float, nodes: int, reach: int) -> Float:
    """Returns the sum of `nodes` discrete Gaussians, on -reach ... reach, by convolution."""
    x = np.arange(-reach, reach + 1)
    one = np.exp(-(x**2) / (2 * sigma**2))
    one /= one.sum()
    total = np.zeros(2 * reach + 1)
    total[reach] = 1.0
    for _ in range(nodes):
        total = np.convolve(total, one)[reach : 3 * reach + 1]
    return total


def divergence(p: Float, shift: int, order: float) -> float:
    """Computes D_order(Z || Z + shift) by its definition, where float64 can tell both from 0."""
    here, there = p[shift:], p[:-shift]
    seen = (here > 1e-250) & (there > 1e-250)
    logs = order * np.log(here[seen]) + (1 - order) * np.log(there[seen])
    return float((logs.max() + np.log(np.exp(logs - logs.max()).sum())) / (order - 1))


@pytest.mark.parametrize(("sigma", "nodes"), [(1, 2), (1, 10), (2, 3), (3, 8)])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_the_bound_holds_for_one_number_and_is_tight_at_larger_sigma(sigma: int, nodes: int, shift: int) -> None:
    p = summed_pmf(sigma, nodes, 16 * sigma * nodes)
    done = DiscreteGaussianSum(1, shift - 1, 1.0, sigma, nodes, 1e-300)  # its rounded norm is at most shift
    assert rounded_norm(done) == shift
    bound = accountant.renyi(done)
    for at in np.searchsorted(ORDERS, [1.5, 2.0, 3.0, 5.0]):
        exact = divergence(p, shift, float(ORDERS[at]))
        assert exact <= bound[at] * (1 + 1e-9)
        if sigma >= 2:
            assert bound[at] <= exact * (1 + 1e-6)


def test_the_bound_worked_by_hand() -> None:
    """d = 2, sigma 1, 2 nodes: tau = 10 e^(-pi^2), and the least of the three bounds at order 2."""
    done = DiscreteGaussianSum(2, 3.0, 1.0, 1, 2)
    D2 = math.sqrt(9 + 0.5 + 1 * (3 + math.sqrt(2) / 2))
    tau = 10 * math.exp(-(math.pi**2))
    x2, D1 = D2**2 / 2, math.sqrt(2) * D2
    wanted = min(x2 + 2 * tau, x2 + 2 * tau * D1 / math.sqrt(2) + 2 * tau**2, (math.sqrt(x2) + tau * math.sqrt(2)) ** 2)
    assert accountant.discreteness(1, 2) == pytest.approx(tau)
    assert np.interp(2.0, ORDERS, accountant.renyi(done)) == pytest.approx(wanted, rel=1e-6)


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Computes the delta of a continuous Gaussian, sensitivity mu sigma: Balle and Wang 2018, Theorem 8."""

    def cdf(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * cdf(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize("rho", [1e-4, 0.01, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("delta", [1e-10, 1e-5, 1e-2])
def test_conversion_lies_between_the_exact_one_and_the_simple_one(rho: float, delta: float) -> None:
    found = accountant.convert(rho * ORDERS, delta)
    assert found <= rho + 2 * math.sqrt(rho * math.log(1 / delta))
    assert gaussian_delta(found, math.sqrt(2 * rho)) <= delta  # rho-zCDP with equality at every order
    assert found == 0 or gaussian_delta(found * 0.8, math.sqrt(2 * rho)) > delta / 20


def test_conversion_is_the_best_order_of_proposition_12() -> None:
    """log(1/delta) + (a - 1) log(1 - 1/a) - log a, over a - 1, on top of rho a: by a loop, at finer orders."""
    rho, delta = 0.05, 1e-6
    orders = [1 + 0.01 * step for step in range(1, 10_000)]
    parts = [math.log(1 / delta) + (a - 1) * math.log(1 - 1 / a) - math.log(a) for a in orders]
    wanted = min(rho * a + part / (a - 1) for a, part in zip(orders, parts, strict=True))
    assert accountant.convert(rho * ORDERS, delta) == pytest.approx(wanted, rel=1e-5)


def test_rounds_compose_and_buckets_do_not() -> None:
    once = accountant.renyi(ROUND)
    other = ROUND._replace(node_sigma=50)
    assert accountant.epsilon([ROUND] * 4, 1e-5) == pytest.approx(accountant.convert(4 * once, 1e-5))
    assert accountant.epsilon([ROUND, other], 1e-5) == accountant.epsilon([other, ROUND], 1e-5)
    assert accountant.epsilon([Disjoint((ROUND, ROUND, other))], 1e-5) == accountant.epsilon([other], 1e-5)
    assert accountant.epsilon([], 1e-5) == 0
    assert accountant.epsilon([ROUND._replace(node_sigma=0)], 1e-5) == math.inf


def test_more_of_each_costs_what_it_should() -> None:
    """More noise or nodes cost less, more clip, rounds or certainty more."""

    def cost(rounds: int = 1, delta: float = 1e-5, **change: Any) -> float:
        return accountant.epsilon([ROUND._replace(**change)] * rounds, delta)

    falling = [cost(node_sigma=sigma) for sigma in (10, 20, 100, 1000)], [cost(quorum=n) for n in (3, 10, 50, 900)]
    rising = (
        [cost(clip=clip) for clip in (0.5, 1.0, 2.0)],
        [cost(rounds) for rounds in (1, 2, 10)],
        [cost(delta=delta) for delta in (1e-3, 1e-5, 1e-9)],
        [cost(dimension=d) for d in (100, 10_000, 1_000_000)],
        [cost(beta=beta) for beta in (0.9, 0.1, 1e-9)],
    )
    for costs in [*rising, *(each[::-1] for each in falling)]:
        assert all(before < after for before, after in pairwise(costs))


def test_calibration_is_the_least_noise_that_keeps_to_the_budget() -> None:
    for epsilon in (0.1, 1.0, 8.0):
        found = accountant.calibrate(Budget(epsilon, 1e-5), 10, ROUND)
        assert accountant.epsilon([found] * 10, 1e-5) <= epsilon
        assert accountant.epsilon([found._replace(node_sigma=found.node_sigma - 1)] * 10, 1e-5) > epsilon
    with pytest.raises(ValueError, match="budget must allow 1 rounds"):
        accountant.calibrate(Budget(1e-9, 1e-12), 1, ROUND)


def test_a_round_over_budget_is_refused_before_it_starts() -> None:
    budget = Budget(8.0, 1e-5)
    done = accountant.calibrate(budget, 3, ROUND)
    past: list[DiscreteGaussianSum] = []
    for _ in range(3):
        assert accountant.refusal(past, done, budget) == ""
        past.append(done)
    assert accountant.refusal(past, done, budget).startswith("epsilon must stay <= 8 at delta 1e-05, the round would")
    assert accountant.projected([], done, 1e-5, rounds=4) == accountant.epsilon([done] * 4, 1e-5) > 8
    with pytest.raises(ValueError, match="delta must be"):
        accountant.epsilon([done], 0)
