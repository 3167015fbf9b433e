"""An attack as a test: who took part? An attacker's success bounds epsilon from below, so a broken promise shows.

Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run" (arXiv:2305.08846), Theorem 5.2: m canaries
are in or out by a fair coin each; of r guesses v are right with a chance of at most P(Binomial(r, e^eps / (1 + e^eps))
>= v) + 2 m delta. Here a canary is a node with all of its clip in one direction, in: its update, out: zeros.
"""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.federated import round_arithmetic
from headrace.udfs.federated.accountant import Budget, calibrate
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum

CANARIES = 400
CLAIMED = Budget(4.0, 1e-6)
CONFIDENCE = 0.95
DONE = calibrate(CLAIMED, 1, DiscreteGaussianSum(CANARIES, 1.0, 200.0, 0, CANARIES))


def at_least(epsilon: float, right: int, guesses: int) -> float:
    """Returns P(Binomial(guesses, e^eps / (1 + e^eps)) >= right)."""
    p = 1 / (1 + math.exp(-epsilon))
    return sum(math.comb(guesses, v) * p**v * (1 - p) ** (guesses - v) for v in range(right, guesses + 1))


def lower_bound(margins: NDArray[np.float64], was_in: NDArray[np.bool_], guesses: int) -> float:
    """The greatest epsilon that so many right guesses refute: "in" for margins above 0, made where they are largest."""
    made = np.argsort(-np.abs(margins), kind="stable")[:guesses]
    right = int(((margins > 0) == was_in)[made].sum())
    likely = 1 - CONFIDENCE - 2 * CANARIES * CLAIMED.delta
    refuted = [epsilon for epsilon in np.arange(0, 10, 0.02) if at_least(float(epsilon), right, guesses) <= likely]
    return float(max(refuted, default=0.0))


def scores_of(
    done: DiscreteGaussianSum, norm: float, was_in: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    total = np.zeros(CANARIES, np.int64)
    for canary, update in enumerate(np.eye(CANARIES) * norm):
        total += round_arithmetic.protect(update * was_in[canary], done, b"round", rng.bytes)
    return round_arithmetic.mean(total, CANARIES, done, b"round") * CANARIES


def attacked(done: DiscreteGaussianSum, guesses: int) -> float:
    rng, sent = np.random.default_rng(17), 10.0  # the norm of an update before its clip
    was_in = rng.random(CANARIES) < 0.5
    scores = scores_of(done, sent, was_in, rng)
    return lower_bound(scores - min(sent, done.clip) / 2, was_in, guesses)


def test_an_attacker_learns_something_and_less_than_claimed() -> None:
    assert 0.5 < attacked(DONE, 60) < CLAIMED.epsilon
    assert attacked(DONE, CANARIES) < CLAIMED.epsilon


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(DONE._replace(node_sigma=0), id="no noise"),
        pytest.param(DONE._replace(node_sigma=DONE.node_sigma // 10), id="a tenth of the noise"),
        pytest.param(DONE._replace(clip=10.0), id="no clip"),
    ],
)
def test_more_than_claimed_once_something_is_left_out(broken: DiscreteGaussianSum) -> None:
    assert attacked(broken, CANARIES) > CLAIMED.epsilon


def test_the_bound_worked_by_hand() -> None:
    """Of 400 guesses all right: p^400 = .05 - .0008, so p = .9925 and epsilon = ln(p / (1 - p)) = 4.88."""
    was_in = np.arange(CANARIES) % 2 == 0
    p = (0.05 - 2 * 400 * 1e-6) ** (1 / 400)
    assert lower_bound(was_in - 0.5, was_in, 400) == pytest.approx(math.log(p / (1 - p)), abs=0.02)
    assert lower_bound(0.5 - was_in, was_in, 400) == 0
