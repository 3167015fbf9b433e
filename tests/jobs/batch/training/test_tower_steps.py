"""What a step of two towers asks for and offers, and how often."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import msgspec
import torch

from headrace.jobs.batch.training import tower_sequences, tower_steps
from headrace.jobs.batch.training.towers import Towers
from tests.jobs.batch.training.small_towers import (
    ITEMS,
    NO_CONTENT,
    nothing,
    planned,
    settings,
    some_items,
    views,
    written,
)

pytestmark = pytest.mark.spark  # whose environment has torch


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("of_one", [0, 600])
def test_the_chance_to_be_offered_is_how_often_an_item_is(tmp_path: Path, ranks: int, of_one: int) -> None:
    """Users of one item are in no step, however many they are."""
    plan = msgspec.structs.replace(planned(settings(users=2 * ranks, drawn=2, hard=3)), history=3, ahead=2)
    sequences, offered, steps = written(tmp_path, views(some_items(of_one)), plan), np.zeros(ITEMS), 0
    hard = np.repeat([0.3, 0.0], [3, ITEMS - 3]) + np.repeat([0.0, 0.1], [ITEMS - 1, 1])
    for epoch in range(40):
        for step in tower_steps.steps(sequences, NO_CONTENT, plan, epoch, 0, ranks, hard):
            offered[step.items.numpy()] += 1
            steps += 1
    shares = tower_sequences.shares(sequences, plan.window)
    expected = np.exp(tower_steps.chances(shares, plan, hard, ranks).numpy())
    assert steps > 1000
    np.testing.assert_allclose(offered / steps, expected, atol=0.05)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_an_epoch_asks_for_each_take_once_and_processes_have_equally_many_steps(tmp_path: Path, ranks: int) -> None:
    plan = msgspec.structs.replace(planned(settings(users=16)), ahead=1)
    sequences = written(tmp_path, views(some_items(9)), plan)
    parts = [
        [*tower_steps.steps(sequences, NO_CONTENT, plan, 0, rank, ranks, np.zeros(ITEMS))] for rank in range(ranks)
    ]
    assert len({len(part) for part in parts}) == 1
    pairs = sum(step.pairs for part in parts for step in part)
    assert abs(pairs - sum(len(each) - 1 for each in some_items())) < ranks  # fewer in the last step are left out


def test_what_is_wanted_is_never_masked_and_what_is_shown_is(tmp_path: Path) -> None:
    plan = planned(settings())
    sequences = written(tmp_path, views(some_items()), plan)
    for step in tower_steps.steps(sequences, NO_CONTENT, plan, 0, 0, 1, np.zeros(ITEMS)):
        shown = {*zip(step.shown.tolist(), step.bags.columns.tolist(), strict=True)}
        assert len(shown) == len(step.bags.columns) > 0
        assert not shown & {*zip(step.owners.tolist(), step.wanted.tolist(), strict=True)}


def test_what_is_hard_is_listed_and_was_not_taken(tmp_path: Path) -> None:
    """40 users who took the same two of 400 items; the towers list by the item's number, the highest first."""
    items = 400
    plan = planned(settings(hard=4), items)
    model = Towers(tower_steps.shape(plan))
    with torch.no_grad():
        model.offered.ids.weight[:] = torch.arange(items)[:, None].float()
        model.out.weight[:], model.out.bias[:] = 0, 1
    sequences = written(tmp_path, views([np.array([350, 399])] * 40), plan)
    hard = tower_steps.hard_negatives(model, sequences, nothing(items), plan, 0)
    first, last = items // 10, items // 2  # of so few items
    expected = np.setdiff1d(np.arange(items), [350, 399])[::-1][first:last]
    assert sorted(np.flatnonzero(hard)) == sorted(expected)
    np.testing.assert_allclose(hard[expected], 1 / len(expected))
    assert not tower_steps.hard_negatives(
        model, sequences, nothing(items), msgspec.structs.replace(plan, hard=0), 0
    ).any()
