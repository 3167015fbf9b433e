"""Towers: bags of what users took."""

import numpy as np
import pytest

pytest.importorskip("torch")

from headrace.jobs.batch.training import towers
from headrace.udfs.factors.als import Rows

pytestmark = pytest.mark.spark  # whose environment has torch


def test_the_weakest_strengths_are_weights_too() -> None:
    """Their squares would be 0: events of a thousand half-lives ago."""
    weights = towers.bags(Rows(np.array([0, 2, 3]), np.array([0, 1, 0]), np.array([1e-200, 1e-200, 5e-324]))).weights
    np.testing.assert_allclose(weights.numpy(), [0.5**0.5, 0.5**0.5, 1], rtol=1e-6)
