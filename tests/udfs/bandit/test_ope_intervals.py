"""Intervals of off-policy estimates in simulated logs of known value, and the choice among estimates."""

from dataclasses import replace

import numpy as np
import pytest

from headrace.udfs.bandit import ope
from headrace.udfs.bandit.ope import DecisionLog, Estimate
from tests.udfs.bandit.test_ope import BY_HAND, INFINITE, Estimator, World, column, world

BEST = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # arm of each context
SHOP = World(  # its policy takes the best arm with probability .7; the evaluated one with .4
    often=column(0.5, 0.3, 0.2),
    reward=np.array([[0.6, 0.3, 0.2, 0.1], [0.2, 0.5, 0.3, 0.1], [0.1, 0.2, 0.3, 0.7]]),
    mu=0.1 + 0.6 * BEST,
    pi=0.2 + 0.2 * BEST,
)


def covered(estimator: Estimator, wrong: bool) -> int:
    """Counts those of 200 simulated logs of 500 decisions whose 95 % interval holds the true value."""
    rng = np.random.default_rng(12)
    model = SHOP.reward + rng.normal(scale=0.3, size=SHOP.reward.shape)
    logs = (SHOP.log(rng, 500, model, wrong) for _ in range(200))
    intervals = [ope.bootstrap(estimator(log), rng, resamples=400) for log in logs]
    return sum(low <= SHOP.value() <= high for low, high in intervals)


@pytest.mark.parametrize("estimator", [ope.ips, ope.snips, ope.dr])
def test_intervals_cover_the_true_value(estimator: Estimator) -> None:
    assert 180 <= covered(estimator, wrong=False) <= 198  # 190 +- 3.1 expected


@pytest.mark.parametrize("estimator", [ope.ips, ope.snips])
def test_a_wrong_propensity_is_found_out(estimator: Estimator) -> None:
    assert covered(estimator, wrong=True) < 20


def test_the_mean_weight_tells_of_a_wrong_propensity() -> None:
    rng = np.random.default_rng(13)
    right, wrong = (ope.diagnostics(SHOP.log(rng, 20_000, SHOP.reward, wrong)) for wrong in (False, True))
    assert right.weight_mean == pytest.approx(1, abs=0.03)
    assert wrong.weight_mean == pytest.approx(4 * (0.7 * 0.4 + 3 * 0.1 * 0.2), abs=0.03)


def test_bootstrap_equals_a_loop_whatever_it_holds_at_a_time() -> None:
    made = world(2)
    estimate = ope.snips(made.log(np.random.default_rng(3), 2_000, made.reward))
    rng = np.random.default_rng(4)
    values = []
    for _ in range(1_200):  # 2.4 million draws, so in three parts
        drawn = [int(i) for i in rng.integers(2_000, size=2_000)]
        values.append(estimate.numerator[drawn].sum() / estimate.denominator[drawn].sum())
    got = ope.bootstrap(estimate, np.random.default_rng(4), confidence=0.8, resamples=1_200)
    assert got == pytest.approx((np.quantile(values, 0.1), np.quantile(values, 0.9)))


@pytest.mark.parametrize("estimator", [ope.ips, ope.snips, ope.dm])
def test_the_standard_error_is_the_spread_over_many_logs(estimator: Estimator) -> None:
    rng = np.random.default_rng(14)
    estimates = [estimator(SHOP.log(rng, 400, SHOP.reward)) for _ in range(1_000)]
    spread = np.std([each.value for each in estimates])
    assert np.mean([each.standard_error for each in estimates]) == pytest.approx(spread, rel=0.1)


def test_standard_errors_by_hand() -> None:
    assert ope.ips(replace(BY_HAND, target=BY_HAND.propensity)).standard_error == pytest.approx(
        np.std([1, 0, 2, 0], ddof=1) / 2
    )
    residuals = 0.5 * (1 - 1), 2 * (0 - 1), 2 * (2 - 1), 0
    assert ope.snips(BY_HAND).standard_error == pytest.approx(np.sqrt(sum(r * r for r in residuals) * 4 / 3) / 4.5)
    alone = DecisionLog(column(1), column(1), column(1))
    assert ope.ips(alone).standard_error == INFINITE


def test_groups_keep_the_value_and_widen_the_interval() -> None:
    made = world(5)
    single = ope.snips(made.log(np.random.default_rng(6), 200, made.reward))
    fourfold = Estimate(np.tile(single.numerator, 4), np.tile(single.denominator, 4))
    grouped = fourfold.by(np.tile([f"user-{i:03d}" for i in range(200)], 4))
    assert grouped.value == pytest.approx(single.value)
    assert grouped.standard_error == pytest.approx(single.standard_error)
    assert fourfold.standard_error == pytest.approx(single.standard_error / 2, rel=0.01)
    first, second = (ope.bootstrap(each, np.random.default_rng(7)) for each in (grouped, single))
    assert first == pytest.approx(second)


def spread(value: float, standard_error: float) -> Estimate:
    return Estimate(column(value - standard_error, value + standard_error), np.ones(2))


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([(3, 1)], 0),
        ([(1, 1), (1.2, 0.5), (1.1, 0.1)], 2),  # all agree: the narrowest
        ([(1, 1), (1.2, 0.5), (9, 0.1)], 1),
        ([(9, 0.1), (1.2, 0.5), (1, 1)], 1),
        ([(1, 1), (9, 0.5), (1, 0.1)], 0),  # what follows a misfit does not count
        ([(0, 1), (1.8, 0.9), (2.3, 0.1)], 1),  # the third agrees with the second, not with the first
        ([(0, 1), (1.98, 0.1)], 1),  # 1.2816 (.1 + 1.4495) = 1.9857
        ([(0, 1), (1.99, 0.1)], 0),
        ([(0, 1), (-1.99, 0.1)], 0),
    ],
)
def test_slope(candidates: list[tuple[float, float]], chosen: int) -> None:
    assert ope.slope([spread(*each) for each in candidates]) == chosen


def test_slope_with_more_confidence_forgives_more() -> None:
    assert ope.slope([spread(0, 1), spread(2.5, 0.1)], confidence=0.95) == 1  # 1.6449 (.1 + 1.4495) = 2.5488
    assert ope.slope([spread(0, 1), spread(2.6, 0.1)], confidence=0.95) == 0
