"""The population stability index."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.udfs.evaluation.population_stability import psi

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


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one category, got none"):
        psi({}, {})
