"""The sampler against the distribution's definition, and against the paper's algorithms in exact fractions."""

import itertools
import math
import os
import time
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.federated import discrete_gaussian
from headrace.udfs.federated.discrete_gaussian import sample


def pmf(sigma: float, reach: int) -> NDArray[np.float64]:
    """Returns P(-reach) ... P(reach), by the definition."""
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-(x**2) / (2 * sigma**2))
    return np.asarray(weights / np.exp(-(np.arange(-50 * reach, 50 * reach + 1) ** 2) / (2 * sigma**2)).sum())


def is_plausible(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> bool:
    """Tests chi-square over cells that expect 10 or more, and the rest as one; wrong once in 10^6."""
    big = expected >= 10
    observed, expected = np.append(observed[big], observed[~big].sum()), np.append(expected[big], expected[~big].sum())
    cells = expected > 0
    chi2 = float(((observed - expected)[cells] ** 2 / expected[cells]).sum())
    freedom = int(cells.sum()) - 1
    return chi2 < freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3  # Wilson, Hilferty 1931


def histogram(drawn: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    return np.bincount(np.clip(drawn + reach, 0, 2 * reach), minlength=2 * reach + 1)


@pytest.mark.parametrize("sigma", [1, 2, 3, 8, 50, 1000])
def test_samples_have_the_distribution(sigma: int) -> None:
    reach, n = 6 * sigma, 400_000
    drawn = histogram(sample(sigma, n, np.random.default_rng(sigma).bytes), reach)
    assert is_plausible(drawn, n * pmf(sigma, reach))
    edges = np.arange(0, 2 * reach + 1, max(1, sigma // 8))
    for wrong in (sigma * 1.02, sigma, sigma * 0.98):  # the test would see 2 % more or less noise
        expected = np.asarray(n * np.add.reduceat(pmf(wrong, reach), edges), np.float64)
        assert is_plausible(np.add.reduceat(drawn, edges), expected) == (wrong == sigma)


def exact_bernoulli_exp(gamma: Fraction, rng: np.random.Generator) -> bool:
    """Runs algorithm 1, line by line."""
    if gamma > 1:
        return all(exact_bernoulli_exp(Fraction(1), rng) for _ in range(math.floor(gamma))) and exact_bernoulli_exp(
            gamma - math.floor(gamma), rng
        )
    for k in itertools.count(1):
        ratio = gamma / k
        if not int(rng.integers(ratio.denominator)) < ratio.numerator:
            return k % 2 == 1
    raise AssertionError


def exact_sample(variance: Fraction, rng: np.random.Generator) -> int:
    """Runs algorithms 2 and 3, with t = floor(sigma) + 1 as in the paper."""
    t = math.isqrt(math.floor(variance)) + 1
    while True:
        u = int(rng.integers(t))
        if not exact_bernoulli_exp(Fraction(u, t), rng):
            continue
        v = 0
        while exact_bernoulli_exp(Fraction(1), rng):
            v += 1
        y, negative = u + t * v, bool(rng.integers(2))
        if negative and y == 0:
            continue
        if exact_bernoulli_exp((y - variance / t) ** 2 / (2 * variance), rng):
            return -y if negative else y


@pytest.mark.parametrize("sigma", [1, 3])
def test_samples_are_those_of_the_algorithms_in_fractions(sigma: int) -> None:
    """Both counts of one cell have the same mean, so their difference has the variance of their sum."""
    n, rng = 8_000, np.random.default_rng(11)
    exact = Counter(exact_sample(Fraction(sigma**2), rng) for _ in range(n))
    ours = Counter(sample(sigma, n, rng.bytes).tolist())
    for x in range(-3 * sigma, 3 * sigma + 1):
        assert abs(exact[x] - ours[x]) <= 5 * math.sqrt(exact[x] + ours[x] + 1)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 3), (1, 1), (5, 2), (7, 1)])
def test_bernoulli_of_an_exponential(numerator: int, denominator: int) -> None:
    n, wanted = 200_000, math.exp(-numerator / denominator)
    numerators = np.full(n, numerator)
    passed = discrete_gaussian._bernoulli_exp(numerators, denominator, np.random.default_rng(3).bytes)
    assert abs(passed.mean() - wanted) <= 5 * math.sqrt(wanted * (1 - wanted) / n)


def test_a_seed_gives_the_same_noise_and_the_machine_s_chance_another() -> None:
    assert (
        sample(100, 50, np.random.default_rng(1).bytes).tolist()
        == sample(100, 50, np.random.default_rng(1).bytes).tolist()
    )
    assert sample(100, 50, os.urandom).tolist() != sample(100, 50, os.urandom).tolist()


def test_the_edges() -> None:
    assert sample(0, 3, os.urandom).tolist() == [0, 0, 0]
    assert sample(5, 0, os.urandom).shape == (0,)
    assert np.abs(sample(discrete_gaussian.SIGMA_MAX, 1000, os.urandom)).max() < 8 * discrete_gaussian.SIGMA_MAX
    for sigma in (-1, discrete_gaussian.SIGMA_MAX + 1):
        with pytest.raises(ValueError, match="sigma must be"):
            sample(sigma, 1, os.urandom)


def test_a_million_draws_take_less_than_seconds() -> None:
    began = time.perf_counter()
    sample(120, 1_000_000, os.urandom)
    assert time.perf_counter() - began < 10
