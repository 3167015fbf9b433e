"""The fast half of an iteration against dense systems in float64."""

import numpy as np
import pytest

from headrace.udfs.factors import als, als_sweep
from headrace.udfs.factors.als import Float, Objective, Rows
from tests.udfs.factors.test_als import OBJECTIVES, direct, loss, random_R, rows_of


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("f", [3, 32, 64])
def test_equals_direct_solves(f: int, objective: Objective) -> None:
    rng = np.random.default_rng(f)
    Y = (rng.normal(size=(400, f)) * np.geomspace(1, 0.05, f) @ rng.normal(size=(f, f)) / f).astype(np.float32)
    R = random_R(rng, [*range(70), 150, 400, 0], 400)
    other = als.basis(Y)
    got = als_sweep.sweep(other, rows_of(R), objective).X @ other.rotation.T
    for x, r in zip(got, R, strict=True):
        expected = np.linalg.solve(*direct(Y.astype(np.float64), r, objective))
        assert np.linalg.norm(x - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rows_of_one_niche_are_solved_as_well(objective: Objective) -> None:
    """Their items are as unlike all items as can be, which the preconditioner takes them to be like."""
    rng = np.random.default_rng(5)
    Y = rng.normal(size=(600, 16)).astype(np.float32)
    Y[:100, :14], Y[100:, 14:] = 0, 0
    Y[:100] *= 5
    R = np.zeros((40, 600))
    R[:20, :100], R[20:, 100:] = rng.random((20, 100)) < 0.5, rng.random((20, 500)) < 0.5
    other = als.basis(Y)
    got = als_sweep.sweep(other, rows_of(R), objective).X @ other.rotation.T
    for x, r in zip(got, R, strict=True):
        expected = np.linalg.solve(*direct(Y.astype(np.float64), r, objective))
        assert np.linalg.norm(x - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_objective_is_that_of_the_equation(objective: Objective) -> None:
    rng = np.random.default_rng(2)
    R = random_R(rng, [int(n) for n in rng.integers(0, 30, 40)], 50)
    Y = als.initial(50, 8, rng)
    other = als.basis(Y)
    X, got = als_sweep.sweep(other, rows_of(R), objective)
    lengths = (R > 0).sum(axis=0)
    got += als_sweep.penalty(Y, lengths, len(R), objective)
    whole: Float = (X @ other.rotation.T).astype(np.float64)
    assert got == pytest.approx(loss(whole, Y.astype(np.float64), R, objective), rel=1e-4)


def test_a_row_has_the_same_bits_in_every_block() -> None:
    rng = np.random.default_rng(7)
    other = als.basis(rng.normal(size=(300, 32)).astype(np.float32))
    R = random_R(rng, [int(n) for n in rng.integers(0, 90, 100)], 300)
    whole = als_sweep.sweep(other, rows_of(R), als.ials()).X
    single = [als_sweep.sweep(other, rows_of(r[None]), als.ials()).X for r in R]
    assert whole.tobytes() == np.concatenate(single).tobytes()


def test_entries_of_strength_zero_count_as_observed() -> None:
    """Their d is 0, and with a target of 1 their t is not."""
    other = als.basis(np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32))
    rows = Rows(np.array([0, 3]), np.array([1, 4, 7]), np.array([0.0, 1.0, 2.0]))
    for objective in OBJECTIVES:
        expected = als.solve(other, rows, objective)
        got = als_sweep.sweep(other, rows, objective).X @ other.rotation.T
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
