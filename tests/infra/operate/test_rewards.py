"""Rewards by policy, and the log for another policy, worked by hand."""

import numpy as np
import pytest

from headrace.infra.operate import rewards
from headrace.udfs.bandit import ope


def record(policy: str, slate: str, reward: float, propensity: float = 0.5) -> rewards.Record:
    return {"policy": policy, "impression_id": slate, "reward": reward, "propensity": propensity}


RECORDS = [record("a", "1", 1.0), record("a", "1", 0.0, 0.25), record("a", "2", 2.0), record("b", "3", 4.0)]


def test_the_mean_of_each_policy_with_an_interval_over_slates() -> None:
    a, b = rewards.earned(RECORDS, np.random.default_rng(1))
    assert (a.policy, a.slates, a.impressions, a.reward) == ("a", 2, 3, 1.0)
    assert (a.low, a.high) == (0.5, 2.0)  # twice slate 1, twice slate 2
    assert b == ("b", 1, 1, 4.0, 4.0, 4.0)
    assert rewards.earned([], np.random.default_rng(1)) == []


def test_the_log_of_another_policy() -> None:
    log = rewards.log(RECORDS[:3], target=lambda each: 0.5 if each["propensity"] == 0.25 else 0.1)
    assert log.weight.tolist() == [0.2, 2.0, 0.2]
    assert ope.ips(log).value == pytest.approx(0.2)
