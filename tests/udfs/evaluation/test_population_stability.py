"""The population stability index."""

from collections.abc import Callable
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headrace.udfs.evaluation.population_stability import DEALS, by_chance, psi

COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1)


def test_a_case_by_hand() -> None:
    """With half an observation more in each category: shares of 1/4 and 3/4 against 3/4 and 1/4."""
    assert psi({"a": 1, "b": 4}, {"a": 4, "b": 1}) == pytest.approx(2 * 0.5 * log(3))


def test_a_category_that_is_new_or_gone_is_finite() -> None:
    assert 0.5 < psi({"view": 1000}, {"click": 1000}) < 20


@given(COUNTS, COUNTS)
def test_it_is_symmetric_never_negative_and_zero_of_equals(one: dict[str, int], other: dict[str, int]) -> None:
    assert psi(one, other) == pytest.approx(psi(other, one))
    assert psi(one, other) >= 0
    assert psi(one, one) == 0


@pytest.mark.parametrize("function", [psi, lambda one, other: by_chance(one, other, np.random.default_rng(1))])
def test_nothing_to_compare_is_refused(function: Callable[[dict[str, int], dict[str, int]], object]) -> None:
    with pytest.raises(ValueError, match="at least one category, got none"):
        function({}, {})


def test_chance_is_as_the_equation_says_where_each_category_is_seen_often() -> None:
    """(K - 1) (1 / n + 1 / m) on average; its variance is that of as many squares: 2 (K - 1) (1 / n + 1 / m)^2."""
    K, n, m = 50, 20_000, 60_000
    even = [{str(category): size // K for category in range(K)} for size in (m, n)]
    dealt = by_chance(even[0], even[1], np.random.default_rng(1))
    unit = 1 / n + 1 / m
    assert dealt.shape == (DEALS,)
    assert dealt.mean() == pytest.approx((K - 1) * unit, rel=4 * (2 / (K - 1) / DEALS) ** 0.5)
    assert dealt.std() == pytest.approx((2 * (K - 1)) ** 0.5 * unit, rel=0.3)


@pytest.mark.parametrize("zipf", [0.0, 1.0])
@pytest.mark.parametrize("categories", [1, 2, 24, 500, 2000, 20_000])
@pytest.mark.parametrize("size", [1000, 7000])
def test_two_samples_of_one_distribution_are_as_chance_gives_them(categories: int, zipf: float, size: int) -> None:
    """Most of them within what chance reaches: of a hundred, one more is above all hundred."""
    rng = np.random.default_rng(categories)
    shares = np.arange(1, categories + 1) ** -zipf
    within = 0
    for _ in range(5):
        one, other = (drawn(rng, shares, n) for n in (size, 1000))
        dealt, value = by_chance(one, other, rng), psi(one, other)
        assert value - dealt.mean() < 0.1
        within += value <= dealt.max()
    assert within >= 4


def drawn(rng: np.random.Generator, shares: NDArray[np.float64], size: int) -> dict[str, int]:
    counts = rng.multinomial(size, shares / shares.sum())
    return {str(category): int(counts[category]) for category in np.flatnonzero(counts)}
