"""What a step of two towers hides and offers, and how often."""

import numpy as np
import pytest

pytest.importorskip("torch")

import msgspec
import torch

from headrace.jobs.batch.training import tower_model, tower_steps
from headrace.jobs.batch.training.towers import Towers, Users
from headrace.udfs.factors.als import Rows
from tests.jobs.batch.training.small_towers import ITEMS, NO_CONTENT, USERS, nothing, settings, some_rows

pytestmark = pytest.mark.spark  # whose environment has torch


def test_what_is_hidden_leaves_something_shown() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 6, 500)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    hidden = tower_steps.to_hide(rng.random(indptr[-1]), indptr, 0.3)
    of_row = np.add.reduceat(np.append(hidden, False).astype(int), indptr[:-1]) * (lengths > 0)
    assert (of_row[lengths >= 2] >= 1).all()
    assert (of_row < np.maximum(lengths, 1)).all()


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("of_one", [0, 600])
def test_the_chance_to_be_offered_is_how_often_an_item_is(ranks: int, of_one: int) -> None:
    """Users of one item are in no step, however many they are."""
    plan = tower_model.planned(ITEMS, NO_CONTENT, settings(users=2 * ranks, drawn=2, hard=3))
    users, offered = Users(some_rows(of_one), nothing(USERS + of_one)), np.zeros(ITEMS)
    hard = np.repeat([0.3, 0.0], [3, ITEMS - 3]) + np.repeat([0.0, 0.1], [ITEMS - 1, 1])
    for epoch in range(100):
        for step in tower_steps.steps(users, plan, epoch, 0, ranks, hard):
            offered[step.items.numpy()] += 1
    expected = np.exp(tower_steps.chances(users.taken, plan, hard, ranks).numpy())
    np.testing.assert_allclose(offered / (100 * USERS / plan.users), expected, atol=0.06)


def test_what_is_hard_is_listed_and_was_not_taken() -> None:
    """40 users who took the same two of 400 items; the towers list by the item's number, the highest first."""
    items = 400
    plan = tower_model.planned(items, NO_CONTENT, settings(hard=4))
    model = Towers(tower_steps.shape(plan))
    with torch.no_grad():
        model.offered.ids.weight[:] = torch.arange(items)[:, None].float()
        model.out.weight[:], model.out.bias[:] = 0, 1
    columns = np.tile([350, 399], 40)
    users = Users(Rows(np.arange(0, 81, 2), columns, np.ones(80)), nothing(40))
    hard = tower_steps.hard_negatives(model, users, nothing(items), plan, 0)
    first, last = items // 10, items // 2  # of so few items
    expected = np.setdiff1d(np.arange(items), columns)[::-1][first:last]
    assert sorted(np.flatnonzero(hard)) == sorted(expected)
    np.testing.assert_allclose(hard[expected], 1 / len(expected))
    assert not tower_steps.hard_negatives(model, users, nothing(items), msgspec.structs.replace(plan, hard=0), 0).any()
