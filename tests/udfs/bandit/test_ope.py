"""Off-policy estimators: worked by hand, against plain loops, where they must agree, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.bandit import ope
from headrace.udfs.bandit.ope import DecisionLog, Estimate

Array = NDArray[np.float64]
Estimator = Callable[[DecisionLog], Estimate]
INFINITE = float("inf")


def column(*values: float) -> Array:
    return np.array(values)


BY_HAND = DecisionLog(  # weights .5, 2, 2, 0
    reward=column(1, 0, 2, 0),
    propensity=column(0.5, 0.25, 0.5, 1),
    target=column(0.25, 0.5, 1, 0),
    predicted=column(0.5, 0.5, 1, 0),
    expected=column(0.4, 0.6, 1.2, 0.2),
)


def switch_at(tau: float) -> Estimator:
    return lambda log: ope.switch_dr(log, tau)


def shrunk_by(lambda_: float) -> Estimator:
    return lambda log: ope.dr_os(log, lambda_)


class World(NamedTuple):
    """Contexts come with `often`, (contexts,); the rest is (contexts, arms)."""

    often: Array
    reward: Array
    mu: Array
    pi: Array

    def value(self) -> float:
        return float((self.often[:, None] * self.pi * self.reward).sum())

    def log(self, rng: np.random.Generator, n: int, model: Array, wrong: bool = False) -> DecisionLog:
        """Returns n decisions with Bernoulli rewards; if wrong, the logged propensity is 1 / arms."""
        x = rng.choice(len(self.often), size=n, p=self.often)
        arm = (rng.random((n, 1)) > self.mu[x].cumsum(axis=1)).sum(axis=1)
        reward = (rng.random(n) < self.reward[x, arm]).astype(float)
        propensity = np.full(n, 1 / self.mu.shape[1]) if wrong else self.mu[x, arm]
        return DecisionLog.of_arms(arm, reward, propensity, self.pi[x], model[x])


def world(seed: int, contexts: int = 3, arms: int = 4) -> World:
    rng = np.random.default_rng(seed)
    often = rng.dirichlet(np.full(contexts, 3.0))
    mu, pi = rng.dirichlet(np.full(arms, 2.0), size=(2, contexts)) * 0.9 + 0.1 / arms
    return World(often, rng.random((contexts, arms)), mu, pi)


def test_four_decisions_by_hand() -> None:
    assert ope.ips(BY_HAND).value == pytest.approx((0.5 * 1 + 2 * 2) / 4)
    assert ope.snips(BY_HAND).value == pytest.approx((0.5 * 1 + 2 * 2) / 4.5)
    assert ope.dm(BY_HAND).value == pytest.approx(0.6)
    assert ope.dr(BY_HAND).value == pytest.approx(0.6 + (0.5 * 0.5 - 2 * 0.5 + 2 * 1) / 4)
    assert ope.switch_dr(BY_HAND, 1).value == pytest.approx(0.6 + 0.5 * 0.5 / 4)
    assert ope.switch_dr(BY_HAND, 2).value == ope.dr(BY_HAND).value  # tau itself is not above tau
    assert ope.dr_os(BY_HAND, 4).value == pytest.approx(0.6 + (8 / 17 * 0.5 - 1 * 0.5 + 1 * 1) / 4)


def test_diagnostics_by_hand() -> None:
    assert ope.diagnostics(BY_HAND) == pytest.approx((4.5**2 / (0.25 + 4 + 4), 2.0, 4.5 / 4))
    assert ope.diagnostics(replace(BY_HAND, target=column(0, 0, 0, 0))) == (0, 0, 0)
    assert ope.diagnostics(replace(BY_HAND, target=BY_HAND.propensity)) == (4, 1, 1)


def test_estimators_equal_loops_over_their_papers_formulas() -> None:
    rng = np.random.default_rng(1)
    n, k, tau, lambda_ = 60, 5, 1.2, 0.7
    mu, pi = rng.dirichlet(np.ones(k), size=(2, n))
    q, reward, arm = rng.normal(size=(n, k)), rng.normal(size=n), rng.integers(k, size=n)
    want = dict.fromkeys(("ips", "snips", "dm", "dr", "switch", "os"), 0.0)
    weights: float = 0.0
    for i in range(n):
        a = int(arm[i])
        w = pi[i][a] / mu[i][a]
        model = sum(pi[i][b] * q[i][b] for b in range(k))
        error = reward[i] - q[i][a]
        weights += w
        want["ips"] += reward[i] * w / n
        want["snips"] += reward[i] * w
        want["dm"] += model / n
        want["dr"] += (model + w * error) / n
        want["switch"] += (model + (w * error if w <= tau else 0)) / n
        want["os"] += (model + lambda_ / (w * w + lambda_) * w * error) / n
    want["snips"] /= weights
    log = DecisionLog.of_arms(arm, reward, mu[np.arange(n), arm], pi, q)
    estimators = (ope.ips, ope.snips, ope.dm, ope.dr, switch_at(tau), shrunk_by(lambda_))
    assert [each(log).value for each in estimators] == pytest.approx(list(want.values()))
    w = pi[np.arange(n), arm] / mu[np.arange(n), arm]
    assert 5 < (w <= tau).sum() < n - 5  # both sides of the switch are met


@pytest.fixture(params=range(5))
def log(request: pytest.FixtureRequest) -> DecisionLog:
    made = world(request.param)
    rng = np.random.default_rng(request.param)
    return made.log(rng, 300, rng.normal(size=(3, 4)))


def test_where_the_estimators_must_agree(log: DecisionLog) -> None:
    perfect = replace(log, predicted=log.reward)
    blank = replace(log, predicted=np.zeros(300), expected=np.zeros(300))
    same_policy = replace(log, target=log.propensity)
    for estimator in (ope.dr, switch_at(1), shrunk_by(1)):
        assert estimator(perfect).value == pytest.approx(ope.dm(perfect).value)
    assert ope.dr(blank).value == pytest.approx(ope.ips(blank).value)
    assert ope.switch_dr(log, 0).value == pytest.approx(ope.dm(log).value)
    assert ope.switch_dr(log, INFINITE).value == pytest.approx(ope.dr(log).value)
    assert ope.dr_os(log, INFINITE).value == pytest.approx(ope.dr(log).value)
    assert ope.dr_os(log, 1e-12).value == pytest.approx(ope.dm(log).value)
    for estimator in (ope.ips, ope.snips):
        assert estimator(same_policy).value == pytest.approx(log.reward.mean())


def test_snips_stays_within_the_rewards_and_moves_with_them(log: DecisionLog) -> None:
    shifted = replace(log, reward=log.reward + 7)
    assert ope.snips(shifted).value == pytest.approx(ope.snips(log).value + 7)
    assert abs(ope.ips(shifted).value - ope.ips(log).value - 7) > 1e-3
    assert log.reward.min() <= ope.snips(log).value <= log.reward.max()


def test_no_shrunk_weight_exceeds_half_the_root_of_lambda(log: DecisionLog) -> None:
    lambda_ = 0.5
    only_weights = replace(log, reward=np.ones(300), predicted=np.zeros(300), expected=np.zeros(300))
    assert ope.dr_os(only_weights, lambda_).numerator.max() <= np.sqrt(lambda_) / 2 + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_ips_and_dr_are_unbiased_over_every_context_and_arm(seed: int) -> None:
    made = world(seed)
    contexts, arms = made.reward.shape
    x, arm = np.divmod(np.arange(contexts * arms), arms)
    model = np.random.default_rng(seed).normal(size=(contexts, arms))  # as wrong as can be
    log = DecisionLog.of_arms(arm, made.reward[x, arm], made.mu[x, arm], made.pi[x], model[x])
    chance = made.often[x] * made.mu[x, arm]
    assert float(chance @ ope.ips(log).numerator) == pytest.approx(made.value())
    assert float(chance @ ope.dr(log).numerator) == pytest.approx(made.value())
    assert float(chance @ ope.snips(log).denominator) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propensity": column(0.5, 0, 0.5, 1)}, "propensity must be in (0, 1], got 0.0 in decision 1"),
        ({"propensity": column(0.5, 0.5, 0.5, 1.5)}, "propensity must be in (0, 1], got 1.5 in decision 3"),
        ({"propensity": column(0.5)}, "propensity must have shape (4,), got (1,)"),
        ({"propensity": column(0.5, 0.5, 0.5, np.nan)}, "propensity must be finite, got nan in decision 3"),
        ({"target": column(-0.1, 0, 0, 0)}, "target must be in [0, 1], got -0.1 in decision 0"),
        ({"target": column(0, 0, 1.1, 0)}, "target must be in [0, 1], got 1.1 in decision 2"),
        ({"target": np.ones((4, 1))}, "target must have shape (4,), got (4, 1)"),
        ({"reward": column(0, np.inf, 0, 0)}, "reward must be finite, got inf in decision 1"),
        ({"reward": np.ones((4, 1))}, "reward must have shape (4,), got (4, 1)"),
        ({"reward": column()}, "reward must hold at least one decision, got 0"),
        ({"predicted": None}, "predicted must be given, since the model's other column is, got None"),
        ({"expected": None}, "expected must be given, since the model's other column is, got None"),
        ({"predicted": column(0, np.nan, 0, 0)}, "predicted must be finite, got nan in decision 1"),
        ({"expected": column(0)}, "expected must have shape (4,), got (1,)"),
    ],
)
def test_a_bad_log_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
        replace(BY_HAND, **changes)
    assert str(refused.value) == message


def test_a_probability_that_rounding_lifted_above_one_is_taken() -> None:
    assert replace(BY_HAND, target=column(0.25, 0.5, 1 + 1e-12, 0)).weight[2] == pytest.approx(2)


ARM, HALVES = np.array([0, 1]), np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("arm", "policy", "model", "message"),
    [
        (np.array([0, 2]), HALVES, None, "arm must be in [0, 2), got 2 in decision 1"),
        (np.array([-1, 0]), HALVES, None, "arm must be in [0, 2), got -1 in decision 0"),
        (ARM, np.full((3, 2), 0.5), None, "policy must have shape (2, k), got (3, 2)"),
        (ARM, np.full((2, 2), 0.4), None, "policy must sum to 1 over the arms, got 0.8 in decision 0"),
        (ARM, np.array([[0.5, 0.5], [-0.5, 1.5]]), None, "policy must be >= 0, got -0.5 in decision 1"),
        (ARM, HALVES, np.ones((2, 3)), "model must have shape (2, 2), got (2, 3)"),
        (ARM, HALVES, np.full((2, 2), np.nan), "predicted must be finite, got nan in decision 0"),
    ],
)
def test_bad_matrices_are_refused(arm: NDArray[np.int64], policy: Array, model: Array | None, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        DecisionLog.of_arms(arm, np.ones(2), np.ones(2), policy, model)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log, rng: ope.switch_dr(log, -1), "tau must be >= 0, got -1"),
        (lambda log, rng: ope.switch_dr(log, np.nan), "tau must be >= 0, got nan"),
        (lambda log, rng: ope.dr_os(log, 0), "lambda_ must be > 0, got 0"),
        (lambda log, rng: ope.bootstrap(ope.ips(log), rng, confidence=95), "confidence must be in (0, 1), got 95"),
        (lambda log, rng: ope.bootstrap(ope.ips(log), rng, resamples=0), "resamples must be > 0, got 0"),
        (lambda log, rng: ope.slope([]), "candidates must hold at least one estimate, got 0"),
        (lambda log, rng: ope.slope([ope.ips(log)], 0.5), "confidence must be in (0.5, 1), got 0.5"),
        (lambda log, rng: ope.ips(log).by(np.arange(3)), "group must have shape (4,), got (3,)"),
        (
            lambda log, rng: ope.dr(replace(log, predicted=None, expected=None)),
            "predicted and expected: this estimator needs a model, got None",
        ),
        (
            lambda log, rng: ope.snips(replace(log, target=np.zeros(4))),
            "target must be > 0 for some decision, got 0.0",
        ),
        (
            lambda log, rng: ope.bootstrap(ope.snips(replace(log, target=column(0, 0, 0, 1))), rng),
            "denominator must be > 0 in each resample: too few decisions carry weight, got 0.0",
        ),
    ],
)
def test_bad_questions_are_refused(call: Callable[[DecisionLog, np.random.Generator], Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        call(BY_HAND, np.random.default_rng(1))
    assert str(refused.value) == message


def test_integer_rewards_are_taken_and_arguments_are_left_alone() -> None:
    log = replace(BY_HAND, reward=np.array([1, 0, 2, 0]))
    before = {name: value.copy() for name, value in vars(log).items()}
    for estimator in (ope.ips, ope.dm, ope.dr, switch_at(1), shrunk_by(1)):
        ope.bootstrap(estimator(log), np.random.default_rng(1), resamples=5)
    assert all((value == before[name]).all() for name, value in vars(log).items())
    assert ope.ips(log).value == ope.ips(BY_HAND).value
