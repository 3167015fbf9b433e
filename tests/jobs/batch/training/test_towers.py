"""Towers: bags of what users took, and their vectors without torch."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from headrace.jobs.batch.training import tower_steps, towers
from headrace.jobs.batch.training.towers import Towers
from headrace.udfs.factors.als import Rows
from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, Events, user_features
from headrace.udfs.recommenders.contract import past
from headrace.udfs.recommenders.tower_scorer import TowerScorer
from tests.jobs.batch.training.small_towers import HISTORY, HOW, ITEMS, USERS, settings, some_items

pytestmark = pytest.mark.spark  # whose environment has torch
CONTENT = Rows(np.arange(ITEMS + 1), np.arange(ITEMS) % 5, np.ones(ITEMS))


def test_the_weakest_strengths_are_weights_too() -> None:
    """Their squares would be 0: events of a thousand half-lives ago."""
    weights = towers.bags(Rows(np.array([0, 2, 3]), np.array([0, 1, 0]), np.array([1e-200, 1e-200, 5e-324]))).weights
    np.testing.assert_allclose(weights.numpy(), [0.5**0.5, 0.5**0.5, 1], rtol=1e-6)


@pytest.mark.parametrize("has_features", [False, True])
def test_users_have_the_vectors_of_torch_without_torch(has_features: bool) -> None:
    """Of random towers; every third user says nothing of themselves, and some took nothing."""
    s = settings(factors=32, hidden=64)
    plan = tower_steps.planned(ITEMS, CONTENT, s, HOW, has_features)
    torch.manual_seed(1)
    model = Towers(tower_steps.shape(plan))
    if model.features is not None:
        torch.nn.init.normal_(model.features.weight)
    rng, users_items = np.random.default_rng(1), some_items()
    said = np.where(rng.random((USERS, 2)) < 1 / 3, NO_FEATURE, rng.integers(0, 1 << 32, (USERS, 2)))
    owners = np.repeat(np.arange(USERS), [len(each) for each in users_items])
    took = owners % 7 > 0
    owners, columns = owners[took], np.concatenate(users_items)[took]
    actions = rng.choice([ACTIONS.index(name) for name in ("view", "like", "purchase")], len(owners))
    nothing = np.full(len(owners), np.nan)
    events = Events(owners, columns, actions, nothing, np.zeros(len(owners), np.int64), said[owners])
    known = past(events, USERS, ITEMS, np.inf, 5.0)
    offered, taken = towers.tables(model, CONTENT)
    users = towers.users(known.rows, user_features(events, USERS), model.shape.features)
    expected = towers.vectors(model, taken, users)
    model.train()  # a model that trains goes on, with its drop-out
    scorer = TowerScorer([*map(str, range(ITEMS))], offered, towers.user_tower(model, taken), HISTORY)
    assert scorer.sound() == []
    X = scorer.user_vectors(known)
    np.testing.assert_allclose(X, expected, atol=1e-5)
    assert np.abs(X).max() > 0.1
    assert np.array_equal(np.any(X != 0, axis=1), np.arange(USERS) % 7 > 0)
