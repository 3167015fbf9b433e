"""The gradient of federated collaborative filtering against differences of the loss, written out in loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.factors import als
from headrace.udfs.federated.factor_gradient import descent

Float = NDArray[np.float64]
ITEMS, FACTORS = 7, 3
HISTORIES = [[0, 2, 5], [1], [2, 3, 4, 6]]


def rows() -> als.Rows:
    columns = [item for history in HISTORIES for item in history]
    strengths = [1.0 + 0.5 * n for n in range(len(columns))]
    return als.Rows(np.cumsum([0, *map(len, HISTORIES)]), np.array(columns), np.array(strengths))


def loss(Y: Float, how: als.Objective) -> float:
    """Computes the loss at the users' best vectors, each by a normal equation of its own."""
    total, entry = 0.0, 0
    for history in HISTORIES:
        A, b = how.unobserved * Y.T @ Y, np.zeros(FACTORS)
        mine = {}
        for item in history:
            weight = how.alpha * (1.0 + 0.5 * entry)
            A += weight * np.outer(Y[item], Y[item])
            b += (weight + how.unobserved * how.target) * Y[item]
            mine[item] = weight
            entry += 1
        ridge = how.reg * (len(history) + how.unobserved * ITEMS) ** how.nu
        x = np.linalg.solve(A + ridge * np.eye(FACTORS), b)
        for item in range(ITEMS):
            score = float(x @ Y[item])
            total += mine.get(item, 0.0) * (1 - score) ** 2
            total += how.unobserved * ((how.target if item in mine else 0.0) - score) ** 2
        total += ridge * float(x @ x)
    return total


@pytest.mark.parametrize("how", [als.ials(alpha=2.0, reg=0.1, unobserved=0.3, nu=0.0), als.hu(alpha=3.0, reg=0.5)])
def test_it_is_minus_half_the_gradient(how: als.Objective) -> None:
    """By the envelope theorem the users' vectors count as fixed."""
    Y = np.random.default_rng(3).standard_normal((ITEMS, FACTORS))
    measured, step = np.empty_like(Y), 1e-5
    for place in np.ndindex(Y.shape):
        moved = np.zeros_like(Y)
        moved[place] = step
        measured[place] = -(loss(Y + moved, how) - loss(Y - moved, how)) / (4 * step)
    np.testing.assert_allclose(descent(Y, rows(), how), measured, rtol=1e-6, atol=1e-8)


def test_a_step_down_lowers_the_loss() -> None:
    how = als.ials(alpha=1.0, reg=0.1, unobserved=0.1)
    Y = np.random.default_rng(4).standard_normal((ITEMS, FACTORS))
    losses = [loss(Y, how)]
    for _ in range(20):
        Y = Y + 0.05 * descent(Y, rows(), how)
        losses.append(loss(Y, how))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]
