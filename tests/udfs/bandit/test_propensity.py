"""The logged probabilities against what really happens, 100,000 times.

`simulated` plays each policy as its paper states it, from the raw log and by drawing parameters, and shares no code
with udfs. Its frequencies of (first item, second item) must be those that the slate logs.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, exp, gamma, sqrt

import numpy as np
import pytest

from headrace.udfs.bandit.arms import Floats, Posterior, stack
from headrace.udfs.bandit.hybrid_linucb import Common, fit
from headrace.udfs.bandit.slate import Chances, Chooser, Left, Policy
from headrace.udfs.bandit.thompson import HybridThompson, best_chances
from tests.udfs.bandit.test_policies import ARMS, KNOWN, LOGS, POLICIES, RIDGE, D, X, hybrid_by_one_big_regression

N = 100_000
K = len(ARMS)
PULLS = np.array([len(LOGS[arm][0]) if arm in LOGS else 0 for arm in ARMS])
EXPLORATION, NEW_BELOW, NEW_EXPOSURE = 0.1, 10, 0.02


def chi_square_tail(x: float, degrees: int) -> float:
    """Returns P(chi-square > x): Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1) from Q(1/2) or Q(1)."""
    y, a = x / 2, 0.5 if degrees % 2 else 1.0
    tail = erfc(sqrt(y)) if degrees % 2 else exp(-y)
    while a < degrees / 2:
        tail += exp(-y) * y**a / gamma(a + 1) if y < 700 else 0.0
        a += 1
    return tail


def p_value(observed: Floats, p: Floats) -> float:
    expected = observed.sum() * p
    assert expected.min() > 5
    return chi_square_tail(float(((observed - expected) ** 2 / expected).sum()), len(p) - 1)


def ridge(arm: str) -> tuple[Floats, Floats]:
    rows, r = LOGS.get(arm, (np.zeros((0, D)), np.zeros(0)))
    A = rows.T @ rows + RIDGE * np.eye(D)
    return np.linalg.solve(A, rows.T @ r), np.linalg.inv(A)


def sampled_scores(policy: str, n: int, rng: np.random.Generator) -> Floats:
    """Draws n rounds of scores (n, k), the highest of which the policy picks."""
    thetas, inverses = zip(*map(ridge, ARMS), strict=True)
    if policy == "thompson":
        drawn = [rng.multivariate_normal(t, 0.7**2 * V, n) for t, V in zip(thetas, inverses, strict=True)]
        return np.stack([draws @ x for draws, x in zip(drawn, X, strict=True)], axis=1)
    mean, covariance = hybrid_by_one_big_regression(LOGS, ARMS, X)
    if policy == "hybrid_thompson":
        return rng.multivariate_normal(mean, 0.7**2 * covariance, n)
    if policy == "uniform":
        return rng.random((n, K))
    disjoint = np.array([x @ theta for x, theta in zip(X, thetas, strict=True)])
    width = np.sqrt([x @ V @ x for x, V in zip(X, inverses, strict=True)])
    scores = {
        "epsilon_greedy": disjoint,
        "linucb": disjoint + 0.4 * width,
        "hybrid_linucb": mean + 0.4 * np.sqrt(np.diag(covariance)),
    }
    return np.tile(scores[policy], (n, 1))


def simulated(policy: str, n: int, rng: np.random.Generator) -> Floats:
    """Counts (first, second), shape (k, k)."""
    left = np.ones((n, K), bool)
    places = []
    for _ in range(2):
        picked = np.argmax(np.where(left, sampled_scores(policy, n, rng), -np.inf), axis=1)
        new = left & (PULLS < NEW_BELOW)
        guard = NEW_EXPOSURE * new.sum(axis=1)
        coin, lots = rng.random(n), rng.random((n, K))
        explores, guards = coin < EXPLORATION, (coin >= EXPLORATION) & (coin < EXPLORATION + guard)
        picked[explores] = np.argmax(np.where(left, lots, -1), axis=1)[explores]
        picked[guards] = np.argmax(np.where(new, lots, -1), axis=1)[guards]
        left[np.arange(n), picked] = False
        places.append(picked)
    return np.bincount(places[0] * K + places[1], minlength=K * K).reshape(K, K).astype(float)


def build(name: str) -> Policy:
    if name == "hybrid_thompson":  # so many draws that their error is far below that of N rounds
        return HybridThompson(fit(KNOWN, D, RIDGE), v=0.7, draws=2_000_000)
    return POLICIES[name](KNOWN)


def settings(policy: Policy) -> Chooser:
    return Chooser(policy, exploration=EXPLORATION, new_below=NEW_BELOW, new_exposure=NEW_EXPOSURE, ridge=RIDGE)


def logged(name: str) -> Floats:
    """Returns P(first) P(second | first), shape (k, k)."""
    arms = stack(KNOWN, ARMS, D, RIDGE)
    policy = build(name)
    chances = policy.chances(arms, X, np.random.default_rng(11))
    everything = np.ones(K, bool)
    first = settings(policy).mix(chances(everything), everything, arms.n).p
    pairs = np.zeros((K, K))
    for i in range(K):
        left = everything.copy()
        left[i] = False
        pairs[i] = first[i] * settings(policy).mix(chances(left), left, arms.n).p
    return pairs


OFF_DIAGONAL = ~np.eye(K, dtype=bool)


@pytest.mark.parametrize("name", POLICIES)
def test_frequencies_are_the_logged_probabilities(name: str) -> None:
    observed = simulated(name, N, np.random.default_rng(20))[OFF_DIAGONAL]
    p = logged(name)[OFF_DIAGONAL]
    assert p.sum() == pytest.approx(1)
    assert p_value(observed, p) > 0.001
    assert p_value(observed, np.full(len(p), 1 / len(p))) < 0.001  # 1/n instead of the propensity is found out


@dataclass
class Remembered:
    """A policy that computes each answer once, so that thousands of slates are drawn in a second."""

    inner: Policy

    def __post_init__(self) -> None:
        self._answers: dict[bytes, Chances] = {}
        self._asked: list[Callable[[Left], Chances]] = []

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        self._asked = self._asked or [self.inner.chances(arms, X, rng)]
        return self._answer

    def _answer(self, left: Left) -> Chances:
        if left.tobytes() not in self._answers:
            self._answers[left.tobytes()] = self._asked[0](left)
        return self._answers[left.tobytes()]


@pytest.mark.parametrize("name", POLICIES)
def test_slates_are_drawn_as_they_are_logged(name: str) -> None:
    rng, choose = np.random.default_rng(21), settings(Remembered(POLICIES[name](KNOWN)))
    slates = [choose.choose(ARMS, X, KNOWN, rng, 2) for _ in range(5_000)]
    counts = Counter(slate.items for slate in slates)
    p = {slate.items: float(np.prod(slate.propensities)) for slate in slates}
    common = [items for items in p if p[items] * len(slates) > 20]
    rest = len(slates) - sum(counts[items] for items in common), 1 - sum(p[items] for items in common)
    observed, expected = zip(*((counts[items], p[items]) for items in common), rest, strict=True)
    if expected[-1] * len(slates) < 6:
        observed, expected = observed[:-1], expected[:-1]
    shares = np.array(expected) / sum(expected)
    assert p_value(np.array(observed, float), shares) > 0.001
    assert p_value(np.array(observed, float), np.full(len(shares), 1 / len(shares))) < 0.001 or name == "uniform"


@pytest.mark.parametrize("seed", range(12))
def test_the_quadrature_is_the_frequency_of_the_highest_draw(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 12))
    mean, sd = rng.normal(size=k), 10.0 ** rng.uniform(-4 if seed % 2 else -0.5, 0.5, k)
    p = best_chances(mean, sd)
    winners = np.argmax(mean + sd * rng.standard_normal((N, k)), axis=1)
    observed = np.bincount(winners, minlength=k).astype(float)
    seen = p * N > 6
    assert observed[~seen].sum() < 60
    if seen.sum() > 1:
        assert p_value(observed[seen], p[seen] / p[seen].sum()) > 0.001


@pytest.mark.parametrize("seed", range(6))
def test_the_quadrature_is_a_fine_riemann_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(size=4), 10.0 ** rng.uniform(-1.5, 0.5, 4)
    step = sd.min() / 40
    s = np.arange((mean - 9 * sd).min(), (mean + 9 * sd).max(), step)
    z = (s[:, None] - mean) / sd
    cdf = np.vectorize(erfc)(-z / sqrt(2)) / 2
    density = np.exp(-z * z / 2) / (sd * sqrt(2 * np.pi))
    slow = [(density[:, a] * np.delete(cdf, a, axis=1).prod(axis=1)).sum() * step for a in range(4)]
    np.testing.assert_allclose(best_chances(mean, sd), slow, atol=1e-9)


def test_deterministic_scores_in_thompson() -> None:
    np.testing.assert_allclose(best_chances(np.array([1.0, 2.0, 2.0, 0.0]), np.zeros(4)), [0, 0.5, 0.5, 0], atol=1e-9)
    np.testing.assert_allclose(best_chances(np.array([0.0, 0.3]), np.array([0.0, 1.0])), [0.38208858, 0.61791142])
    assert best_chances(np.array([3.0]), np.array([0.5])).tolist() == [1]


def test_the_quadrature_holds_for_many_equal_arms_and_a_thousand_scales() -> None:
    np.testing.assert_allclose(best_chances(np.zeros(2000), np.full(2000, 0.3)), np.full(2000, 1 / 2000), rtol=1e-9)
    two = best_chances(np.array([0.0, 1e-7]), np.array([1.0, 1e-7]))
    np.testing.assert_allclose(two, [0.5 - 1e-7 / sqrt(2 * np.pi), 0.5 + 1e-7 / sqrt(2 * np.pi)], atol=1e-9)


def test_correlated_draws_by_hand() -> None:
    common = Common(np.array([0.0, 0.5]), np.array([[1.0, 0.9], [0.9, 1.0]]), (0, 1), (0, 1), ridge=1e8)
    arms = stack({}, ["a", "b"], 2, ridge=1e8)  # of their own they are certain: 0
    policy = HybridThompson(common, v=2.0, draws=200_000)
    p, _ = policy.chances(arms, np.array([[0.0, 1.0], [0.0, 0.0]]), np.random.default_rng(1))(np.ones(2, bool))
    assert p[0] == pytest.approx(erfc(-0.25 / sqrt(2)) / 2, abs=0.005)  # N(.5, 2^2) above 0
    p, _ = policy.chances(arms, np.array([[-1.0, 1.0], [0.0, 0.0]]), np.random.default_rng(1))(np.ones(2, bool))
    assert p[0] == pytest.approx(erfc(-0.25 / sqrt(0.2) / sqrt(2)) / 2, abs=0.005)  # variance 1 + 1 - 2 x .9


def test_the_error_of_monte_carlo_is_its_error() -> None:
    mean, covariance = hybrid_by_one_big_regression(LOGS, ARMS, X)
    rng = np.random.default_rng(30)
    winners = np.argmax(rng.multivariate_normal(mean, 0.7**2 * covariance, 2_000_000), axis=1)
    truth = np.bincount(winners, minlength=K) / len(winners)
    policy, arms = HybridThompson(fit(KNOWN, D, RIDGE), v=0.7, draws=1000), stack(KNOWN, ARMS, D, RIDGE)
    runs = [policy.chances(arms, X, np.random.default_rng(seed))(np.ones(K, bool)) for seed in range(400)]
    p, error = (np.array(each) for each in zip(*runs, strict=True))
    likely = truth > 0.02
    np.testing.assert_allclose(p.std(axis=0)[likely], error.mean(axis=0)[likely], rtol=0.15)
    assert (np.abs(p.mean(axis=0) - truth)[likely] < 4 * error.mean(axis=0)[likely] / 20).all()
    slate = settings(policy).choose(ARMS, X, KNOWN, rng, 2)
    assert (slate.propensity_errors > 0).all()
    assert (slate.propensity_errors < 0.02).all()
