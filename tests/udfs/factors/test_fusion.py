"""Fusion of two estimates of the same factors."""

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.factors.fusion import fuse, rotation

RNG = np.random.default_rng(5)


def turned(factors: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((factors.shape[1],) * 2))
    return np.asarray(factors @ q)


def test_a_rotation_is_undone() -> None:
    truth = RNG.standard_normal((50, 6))
    np.testing.assert_allclose(turned(truth, 1) @ rotation(turned(truth, 1), truth), truth, atol=1e-12)


def test_the_same_factors_stay_as_they_are() -> None:
    truth = RNG.standard_normal((50, 6))
    fused = fuse(truth, turned(truth, 2), 300, 100, 0.0)
    np.testing.assert_allclose(fused.factors, truth, atol=1e-12)


@pytest.mark.parametrize(
    ("users", "noise"), [((100, 100), 0.0), ((100, 400), 0.0), ((400, 100), 0.04), ((100, 100), 0.5)]
)
def test_the_weight_is_that_of_the_true_errors_and_beats_both(users: tuple[int, int], noise: float) -> None:
    truth, spread = RNG.standard_normal((5_000, 8)), 1.0
    v_a, v_b = spread / users[0], spread / users[1] + noise
    a = truth + RNG.standard_normal(truth.shape) * v_a**0.5
    b = turned(truth + RNG.standard_normal(truth.shape) * v_b**0.5, 3)
    fused = fuse(a, b, *users, noise)
    assert fused.weight == pytest.approx(v_a / (v_a + v_b), abs=0.02)
    error = np.mean((fused.factors - truth) ** 2)
    assert error < 1.02 * v_a * v_b / (v_a + v_b)


def test_much_noise_leaves_the_first_alone() -> None:
    a = RNG.standard_normal((100, 4))
    assert fuse(a, RNG.standard_normal((100, 4)), 100, 100, 1e6).weight < 1e-9


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="users must be > 0 and noise >= 0, got 0, 1 and 0"):
        fuse(np.ones((2, 2)), np.ones((2, 2)), 0, 1, 0.0)
