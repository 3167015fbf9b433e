"""The mixture of policy, exploration and guard, by hand."""

import numpy as np
import pytest

from headrace.udfs.bandit.epsilon_greedy import Uniform
from headrace.udfs.bandit.slate import Chances, Chooser, best, draw
from tests.udfs.bandit.test_policies import ARMS, KNOWN, X, chooser


@pytest.mark.parametrize(
    ("changes", "p"),
    [
        ({"exploration": 0.0, "new_exposure": 0.0}, [1, 0, 0, 0, 0]),
        ({"exploration": 0.1, "new_exposure": 0.0}, [0.92, 0.02, 0.02, 0.02, 0.02]),
        ({"exploration": 0.1, "new_exposure": 0.03}, [0.86, 0.02, 0.02, 0.05, 0.05]),  # two are new
        ({"exploration": 0.1, "new_exposure": 0.3}, [0.82, 0.02, 0.02, 0.07, 0.07]),  # the cap holds
        ({"exploration": 0.2, "new_exposure": 0.3}, [0.84, 0.04, 0.04, 0.04, 0.04]),
        ({"exploration": 0.1, "new_exposure": 0.05, "new_below": 0.0}, [0.92, 0.02, 0.02, 0.02, 0.02]),
    ],
)
def test_exploration_and_the_guard_by_hand(changes: dict[str, float], p: list[float]) -> None:
    n = np.array([100.0, 10, 11, 9, 0])
    chances = Chances(np.array([1.0, 0, 0, 0, 0]), np.full(5, 0.01))
    mixed = chooser(Uniform(), **changes).mix(chances, np.ones(5, bool), n)
    np.testing.assert_allclose(mixed.p, p, atol=1e-15)
    np.testing.assert_allclose(mixed.error, 0.01 * (mixed.p[0] - mixed.p[1]), atol=1e-15)


def test_the_guard_watches_what_is_left() -> None:
    left, n = np.array([1, 1, 1, 0, 0], bool), np.array([100.0, 100, 0, 0, 0])
    mixed = chooser(Uniform(), new_exposure=0.05).mix(Chances(np.array([1.0, 0, 0, 0, 0]), np.zeros(5)), left, n)
    np.testing.assert_allclose(mixed.p, [0.85 + 0.1 / 3, 0.1 / 3, 0.05 + 0.1 / 3, 0, 0], atol=1e-15)


def test_rounding_leaves_no_probability_above_one() -> None:
    for exploration in np.linspace(0, 0.19, 500):
        mix = chooser(Uniform(), exploration=float(exploration), new_exposure=0.007).mix
        assert mix(Chances(np.ones(1), np.zeros(1)), np.ones(1, bool), np.zeros(1)).p[0] <= 1


def test_a_draw_follows_the_heights() -> None:
    p = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    lots = [0.0, 0.1, np.nextafter(0.25, 0), 0.25, 0.5, np.nextafter(1.0, 0)]
    assert [draw(p, float(u)) for u in lots] == [1, 1, 1, 3, 3, 3]
    assert draw(p * 0.3, 0.5) == 3  # rounding may leave the sum beside 1


def test_equal_scores_share() -> None:
    chances = best(np.array([1.0, 3.0, 3.0, 2.0, 3.0]))
    assert chances(np.ones(5, bool)).p.tolist() == [0, 1 / 3, 1 / 3, 0, 1 / 3]
    assert chances(np.array([1, 0, 1, 1, 0], bool)).p.tolist() == [0, 0, 1, 0, 0]
    assert chances(np.array([1, 0, 0, 1, 0], bool)).p.tolist() == [0, 0, 0, 1, 0]


def test_errors_say_what_is_wrong() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="candidates must be distinct, at least one, got 2 of 1 names"):
        chooser(Uniform()).choose(["a", "a"], X[0], KNOWN, rng, 1)
    with pytest.raises(ValueError, match="candidates must be distinct, at least one, got 0 of 0 names"):
        chooser(Uniform()).choose([], X[0], KNOWN, rng, 1)
    with pytest.raises(ValueError, match="slate_size must be >= 1, got 0"):
        chooser(Uniform()).choose(ARMS, X, KNOWN, rng, 0)
    with pytest.raises(ValueError, match=r"0 <= exploration <= exploration_max <= 1, got 0.3 and 0.2"):
        Chooser(Uniform(), exploration=0.3)
    with pytest.raises(ValueError, match=r"new_exposure must be within \[0, 1\], got 1.5"):
        Chooser(Uniform(), new_exposure=1.5)
    with pytest.raises(ValueError, match=r"theta must have 2 values as the context, got 4 for arm 'a'"):
        chooser(Uniform()).choose(ARMS, X[:, :2], KNOWN, rng, 1)
