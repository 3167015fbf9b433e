"""One contract for every policy, and each against its paper's formula computed the slow way."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from headrace.udfs.bandit.arms import Floats, Posterior, quantise
from headrace.udfs.bandit.epsilon_greedy import EpsilonGreedy, Uniform
from headrace.udfs.bandit.hybrid_linucb import HybridLinUCB, fit, joint
from headrace.udfs.bandit.linucb import LinUCB
from headrace.udfs.bandit.slate import Chances, Chooser, Policy
from headrace.udfs.bandit.thompson import HybridThompson, Thompson

D, RIDGE = 4, 2.0
Log = dict[str, tuple[Floats, Floats]]  # arm -> contexts (m, d), rewards (m,)
Make = Callable[[Mapping[str, Posterior]], Policy]
POLICIES: dict[str, Make] = {
    "linucb": lambda posteriors: LinUCB(alpha=0.4),
    "hybrid_linucb": lambda posteriors: HybridLinUCB(fit(posteriors, D, RIDGE), alpha=0.4),
    "thompson": lambda posteriors: Thompson(v=0.7),
    "hybrid_thompson": lambda posteriors: HybridThompson(fit(posteriors, D, RIDGE), v=0.7),
    "epsilon_greedy": lambda posteriors: EpsilonGreedy(),
    "uniform": lambda posteriors: Uniform(),
}
every_policy = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES.keys())
learning = pytest.mark.parametrize("make", [POLICIES[n] for n in POLICIES if n != "uniform"])


def log(seed: int, sizes: Mapping[str, int], noise: float = 1.0) -> Log:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=D)
    logs = {}
    for arm, m in sizes.items():
        X = np.column_stack([np.ones(m), quantise(rng.normal(size=(m, D - 1)))])
        logs[arm] = X, X @ (common + 0.3 * rng.normal(size=D)) + noise * rng.normal(size=m)
    return logs


def posteriors(logs: Log) -> dict[str, Posterior]:
    known = {}
    for arm, (X, r) in logs.items():
        A = X.T @ X + RIDGE * np.eye(D)
        known[arm] = Posterior(np.linalg.solve(A, X.T @ r), np.linalg.inv(A), np.array(float(len(X))))
    return known


LOGS = log(5, {"a": 60, "b": 8, "c": 25, "d": 3})
KNOWN = posteriors(LOGS)
ARMS = ["a", "b", "c", "d", "e"]  # nothing is known of e
X = quantise(np.column_stack([np.ones(5), np.random.default_rng(6).normal(size=(5, D - 1))]))


def chooser(policy: Policy, **changes: float) -> Chooser:
    return replace(Chooser(policy, new_below=10, ridge=RIDGE), **changes)  # type: ignore[arg-type]


def hybrid_by_one_big_regression(logs: Log, arms: list[str], contexts: Floats) -> tuple[Floats, Floats]:
    """Mean (k,) and covariance (k, k) of the scores: ridge on the joint vector (beta, theta_1, ..., theta_k)."""
    names = sorted({*logs, *arms})

    def features(arm: str, x: Floats) -> Floats:
        phi = np.zeros((1 + len(names), D))
        phi[0], phi[1 + names.index(arm)] = x, x
        return phi.ravel()

    size = D * (1 + len(names))
    A, b = RIDGE * np.eye(size), np.zeros(size)
    for arm, (rows, rewards) in logs.items():
        for x, r in zip(rows, rewards, strict=True):
            A += np.outer(features(arm, x), features(arm, x))
            b += r * features(arm, x)
    phi = np.array([features(arm, x) for arm, x in zip(arms, contexts, strict=True)])
    return phi @ np.linalg.solve(A, b), phi @ np.linalg.solve(A, phi.T)


@learning
def test_an_arm_known_to_be_best_is_chosen(make: Make) -> None:
    rows = np.ones((500, D))
    known = posteriors({arm: (rows, np.full(500, 8.0 if arm == "c" else -1.0)) for arm in "abcd"})
    sure = chooser(make(known), exploration=0.0, exploration_max=0.0)
    for seed in range(20):
        slate = sure.choose(list("abcd"), np.ones(D), known, np.random.default_rng(seed), 1)
        assert slate.items == ("c",)
        assert slate.propensities[0] == pytest.approx(1.0)
    explored = chooser(make(known)).choose(list("abcd"), np.ones(D), known, np.random.default_rng(1), 4)
    assert explored.propensities[explored.items.index("c")] >= 0.9 + 0.1 / 4 - 1e-9


@every_policy
def test_the_order_of_candidates_has_no_effect(make: Make) -> None:
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(5)
        one = chooser(make(KNOWN)).choose(ARMS, X, KNOWN, np.random.default_rng(seed), 3)
        known = dict(reversed(KNOWN.items()))
        other = chooser(make(known)).choose([ARMS[i] for i in order], X[order], known, np.random.default_rng(seed), 3)
        assert one.items == other.items
        np.testing.assert_array_equal(one.propensities, other.propensities)
        np.testing.assert_array_equal(one.contexts, [X[ARMS.index(item)] for item in one.items])
        np.testing.assert_array_equal(one.contexts, other.contexts)


@every_policy
def test_inputs_stay_as_they_were(make: Make) -> None:
    arms, contexts, known = list(ARMS), X.copy(), {a: Posterior(*(v.copy() for v in p)) for a, p in KNOWN.items()}
    chooser(make(known)).choose(arms, contexts, known, np.random.default_rng(1), 5)
    assert arms == ARMS
    np.testing.assert_array_equal(contexts, X)
    for arm, posterior in KNOWN.items():
        for value, was in zip(known[arm], posterior, strict=True):
            np.testing.assert_array_equal(value, was)


@every_policy
def test_the_seed_decides(make: Make) -> None:
    def slates(seed: int) -> list[tuple[str, ...]]:
        rng = np.random.default_rng(seed)
        return [chooser(make(KNOWN)).choose(ARMS, X, KNOWN, rng, 4).items for _ in range(20)]

    assert slates(3) == slates(3) != slates(4)


@every_policy
def test_chances_are_a_distribution_over_what_is_left(make: Make) -> None:
    arms = Posterior(*(np.stack(v) for v in zip(*(KNOWN[a] for a in "abcd"), strict=True)))
    chances = make(KNOWN).chances(arms, X[:4], np.random.default_rng(2))
    for bits in range(1, 16):
        left = np.array([bits >> i & 1 for i in range(4)], bool)
        p, error = chances(left)
        mixed = chooser(make(KNOWN)).mix(Chances(p, error), left, arms.n)
        for each in (p, mixed.p):
            assert each.sum() == pytest.approx(1, abs=1e-12)
            assert (each >= 0).all()
            assert not each[~left].any()
        assert (mixed.p[left] >= 0.1 / left.sum() - 1e-15).all()
        assert not error[~left].any()


@every_policy
def test_a_slate_has_distinct_items_and_true_probabilities(make: Make) -> None:
    for seed in range(10):
        slate = chooser(make(KNOWN)).choose(ARMS, X, KNOWN, np.random.default_rng(seed), 9)
        assert sorted(slate.items) == ARMS
        assert ((slate.propensities > 0) & (slate.propensities <= 1)).all()
        assert slate.propensities[-1] == pytest.approx(1)
        assert slate.contexts.shape == (5, D)
        assert slate.propensities.shape == slate.propensity_errors.shape == (5,)


@every_policy
def test_one_context_serves_all_candidates(make: Make) -> None:
    shared = chooser(make(KNOWN)).choose(ARMS, X[0], KNOWN, np.random.default_rng(1), 3)
    tiled = chooser(make(KNOWN)).choose(ARMS, np.tile(X[0], (5, 1)), KNOWN, np.random.default_rng(1), 3)
    assert shared.items == tiled.items
    np.testing.assert_array_equal(shared.propensities, tiled.propensities)


@every_policy
def test_nothing_known_is_no_obstacle(make: Make) -> None:
    slate = chooser(make({})).choose(ARMS, X[0], {}, np.random.default_rng(1), 2)
    expected = [1 / 5, 1 / 4]  # equal contexts and equal priors: all alike
    np.testing.assert_allclose(slate.propensities, expected, atol=5 * slate.propensity_errors.max() + 1e-9)


def test_linucb_by_hand() -> None:
    known = {
        "a": Posterior(np.array([1.0]), np.array([[0.04]]), np.array(99.0)),
        "b": Posterior(np.array([0.5]), np.array([[1.0]]), np.array(99.0)),
    }
    arms = Posterior(*(np.stack(v) for v in zip(*known.values(), strict=True)))
    for alpha, first in ((0.0, "a"), (0.61, "a"), (0.63, "b")):  # 2 + .4 alpha against 1 + 2 alpha; equal at .625
        p, _ = LinUCB(alpha).chances(arms, np.array([[2.0], [2.0]]), np.random.default_rng(0))(np.ones(2, bool))
        assert p.tolist() == [float(first == "a"), float(first == "b")]


def test_disjoint_scores_are_the_papers() -> None:
    mean = np.array([x @ KNOWN[arm].theta for arm, x in zip("abcd", X, strict=False)])
    width = np.array([np.sqrt(x @ KNOWN[arm].A_inv @ x) for arm, x in zip("abcd", X, strict=False)])
    arms = Posterior(*(np.stack(v) for v in zip(*(KNOWN[a] for a in "abcd"), strict=True)))
    for alpha in np.linspace(0, 12, 60):
        chances = LinUCB(float(alpha)).chances(arms, X[:4], np.random.default_rng(0))
        assert np.argmax(chances(np.ones(4, bool)).p) == np.argmax(mean + alpha * width)
    winners = {int(np.argmax(mean + alpha * width)) for alpha in np.linspace(0, 12, 60)}
    assert len(winners) > 1


def test_hybrid_is_one_big_regression() -> None:
    mean, covariance = hybrid_by_one_big_regression(LOGS, ARMS, X)
    common = fit(KNOWN, D, RIDGE)
    prior = Posterior(np.zeros(D), np.eye(D) / RIDGE, np.array(0.0))
    arms = Posterior(*(np.stack(v) for v in zip(*(KNOWN.get(a, prior) for a in ARMS), strict=True)))
    got = joint(arms, X, common)
    np.testing.assert_allclose(got.mean, mean, atol=1e-9)
    np.testing.assert_allclose(got.Q @ common.A0_inv @ got.Q.T + np.diag(got.own), covariance, atol=1e-9)
    for alpha in np.linspace(0, 5, 40):
        chances = HybridLinUCB(common, float(alpha)).chances(arms, X, np.random.default_rng(0))
        assert np.argmax(chances(np.ones(5, bool)).p) == np.argmax(mean + alpha * np.sqrt(np.diag(covariance)))


def test_hybrid_with_features_of_its_own_and_shared_ones() -> None:
    own, shared = (0, 2), (1, 3)
    A0, b0, per_arm = RIDGE * np.eye(2), np.zeros(2), {}
    for arm, (rows, r) in LOGS.items():  # Algorithm 2 of the paper, line by line
        x, z = rows[:, own], rows[:, shared]
        A, B, b = x.T @ x + RIDGE * np.eye(2), x.T @ z, x.T @ r
        A0 += z.T @ z - B.T @ np.linalg.solve(A, B)
        b0 += z.T @ r - B.T @ np.linalg.solve(A, b)
        per_arm[arm] = A, B, b
    beta = np.linalg.solve(A0, b0)
    common = fit(KNOWN, D, RIDGE, own, shared)
    np.testing.assert_allclose(common.beta, beta, atol=1e-9)
    arms = Posterior(*(np.stack(v) for v in zip(*(KNOWN[a] for a in "abcd"), strict=True)))
    got = joint(arms, X[:4], common)
    variance = got.own + np.einsum("kz,zy,ky->k", got.Q, common.A0_inv, got.Q)
    for i, arm in enumerate("abcd"):
        (A, B, b), x, z = per_arm[arm], X[i, own], X[i, shared]
        theta = np.linalg.solve(A, b - B @ beta)
        Ax, A0z = np.linalg.solve(A, x), np.linalg.solve(A0, z)
        s = z @ A0z - 2 * A0z @ B.T @ Ax + x @ Ax + Ax @ B @ np.linalg.solve(A0, B.T @ Ax)
        assert got.mean[i] == pytest.approx(z @ beta + x @ theta, abs=1e-9)
        assert variance[i] == pytest.approx(s, abs=1e-9)


def test_a_new_item_is_not_blind_in_the_hybrid() -> None:
    logs = log(9, {f"arm-{i}": 200 for i in range(30)}, noise=0.1)
    known = posteriors(logs)
    common = fit(known, D, RIDGE)
    np.testing.assert_array_equal(fit(dict(reversed(known.items())), D, RIDGE).beta, common.beta)  # to the bit
    new = Posterior(np.zeros((1, D)), np.eye(D)[None] / RIDGE, np.zeros(1))
    truth = np.mean([np.linalg.lstsq(*rows, rcond=None)[0] for rows in logs.values()], axis=0)
    assert np.abs(joint(new, X[:1], common).mean[0] - X[0] @ truth) < 0.3 < 3 < np.abs(X[0] @ truth)


def test_settings_must_make_sense() -> None:
    for wrong in (lambda: LinUCB(-1.0), lambda: HybridLinUCB(fit({}, D, RIDGE), -1.0)):
        with pytest.raises(ValueError, match=r"alpha must be >= 0, got -1.0"):
            wrong()
    with pytest.raises(ValueError, match=r"v must be >= 0, got -1.0"):
        Thompson(-1.0)
    with pytest.raises(ValueError, match=r"draws must be >= 100, got 5"):
        HybridThompson(fit({}, D, RIDGE), draws=5)
    with pytest.raises(ValueError, match=r"own and shared must be places within 0\.\.3"):
        fit(KNOWN, D, RIDGE, own=(4,))
