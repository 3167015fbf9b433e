"""The published protocol on the small Open Bandit Dataset, against what the Open Bandit Pipeline itself computes.

EXPECTED is what obp 0.5.7 (scikit-learn 1.2.2, numpy 1.26) printed for its first two resamples with 100,000 draws of
Thompson sampling. The benchmark `open_bandit` runs the whole of it: 30 resamples, 1,000,000 draws.
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import open_bandit
from tests.streams.clicks import data_file

DRAWS = 100_000
EXPECTED = [
    {
        "dm": 0.003958977686332141,
        "ips": 0.004588159999999999,
        "snips": 0.004819429379292589,
        "dr": 0.004579180214110477,
        "switch_dr": 0.0030653357788166667,
        "dr_os": 0.003913002671535842,
    },
    {
        "dm": 0.003251523319301836,
        "ips": 0.004521679999999999,
        "snips": 0.004679521766635582,
        "dr": 0.004344774423914285,
        "switch_dr": 0.002856383686725197,
        "dr_os": 0.003290830417545144,
    },
]
REGRESSION = 5e-4  # relative; their L-BFGS stops short of the optimum that Newton's method reaches


@pytest.fixture(scope="module")
def folder() -> Path:
    return data_file("obd-small")


@pytest.fixture(scope="module")
def policy() -> open_bandit.Array:
    return open_bandit.thompson(DRAWS)


def test_thompson_sampling_is_a_distribution_at_each_position(policy: open_bandit.Array) -> None:
    assert policy.shape == (3, 80)
    assert policy.sum(axis=1) == pytest.approx(np.ones(3))


def test_estimates_equal_those_of_the_open_bandit_pipeline(folder: Path, policy: open_bandit.Array) -> None:
    for got, expected in zip(open_bandit.estimates(folder, policy, 2), EXPECTED, strict=True):
        values = {name: estimate.value for name, estimate in got.items()}
        without_model = ("ips", "snips")
        assert [values[name] for name in without_model] == pytest.approx([expected[name] for name in without_model])
        assert values == pytest.approx(expected, rel=REGRESSION)


def test_the_regression_is_at_its_optimum() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 3))
    click = (rng.random(200) < 0.2).astype(float)

    def loss(w: open_bandit.Array) -> float:
        score = w[0] + features @ w[1:]
        return float(w[1:] @ w[1:] / 2 + open_bandit.INVERSE_RIDGE * (np.log1p(np.exp(score)) - click * score).sum())

    best = open_bandit.logistic(features, click)
    steps = 1e-3 * np.vstack([np.eye(4), -np.eye(4)])
    assert all(loss(best + step) > loss(best) for step in steps)
