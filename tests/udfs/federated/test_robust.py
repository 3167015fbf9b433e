"""Robust folds: buckets are disjoint, and hostile ones below the bound move nothing far."""

import numpy as np
import pytest

from headrace.udfs.federated import robust

NODES = [f"node-{number}" for number in range(53)]


def test_buckets_hold_every_node_once_and_at_least_k() -> None:
    found = robust.buckets(NODES, 10, b"seed")
    assert sorted(node for bucket in found for node in bucket) == sorted(NODES)
    assert sorted(map(len, found)) == [10, 10, 11, 11, 11]
    assert found == robust.buckets(NODES[::-1], 10, b"seed") != robust.buckets(NODES, 10, b"other")
    assert len(robust.buckets(NODES, 53, b"")) == 1
    for k in (0, 54):
        with pytest.raises(ValueError, match="k must be from 1 to the 53 nodes"):
            robust.buckets(NODES, k, b"")


def test_worked_by_hand() -> None:
    means = np.array([[1.0, 9.0], [2.0, -900.0], [3.0, 11.0], [700.0, 10.0], [4.0, 12.0]])
    assert robust.median(means).tolist() == [3.0, 10.0]
    assert robust.trimmed_mean(means, 0.2).tolist() == [3.0, 10.0]
    assert robust.trimmed_mean(means, 0.0).tolist() == means.mean(axis=0).tolist()
    with pytest.raises(ValueError, match="trim must leave one of 5 buckets"):
        robust.trimmed_mean(means, 0.5)


@pytest.mark.parametrize("hostile", [1, 2])
def test_hostile_buckets_stay_within_the_honest_ones_values(hostile: int) -> None:
    rng = np.random.default_rng(hostile)
    honest = rng.standard_normal((7 - hostile, 200))
    means = np.vstack([honest, np.full((hostile, 200), 1e9) * rng.choice([-1, 1], (hostile, 200))])
    for folded in (robust.median(means), robust.trimmed_mean(means, hostile / 7)):
        assert (folded >= honest.min(axis=0)).all()
        assert (folded <= honest.max(axis=0)).all()
