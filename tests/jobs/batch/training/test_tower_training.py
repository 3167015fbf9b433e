"""Which epoch of two towers is the best, when a training ends, and what a killed one goes on from."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.training import tower_sequences, tower_training
from headrace.jobs.batch.training.tower_steps import TrainingPlan
from headrace.jobs.batch.training.tower_training import Judges, TrainingProgress
from headrace.jobs.batch.training.towers import Users
from headrace.udfs.factors.als import Int, Rows
from headrace.udfs.factors.top_n import Excluded
from tests.jobs.batch.training import small_towers
from tests.jobs.batch.training.small_towers import (
    ITEMS,
    NO_CONTENT,
    USERS,
    nothing,
    settings,
    some_items,
    views,
    written,
)

pytestmark = pytest.mark.spark  # whose environment has torch


def prepared(folder: Path, epochs: int, items: list[Int] | None = None, **changed: Any) -> Path:
    folder.mkdir()
    plan = planned(folder, epochs, **changed)
    tower_sequences.write(folder, views(some_items() if items is None else items, devices=3), plan.window)
    tower_training.save(folder / tower_training.CONTENT, NO_CONTENT)
    return folder


def planned(folder: Path, epochs: int, **changed: Any) -> TrainingPlan:
    plan = small_towers.planned(settings(**{"epochs": epochs, "patience": epochs, "hard": 4} | changed), ITEMS, True)
    (folder / tower_training.PLAN).write_bytes(msgspec.json.encode(plan))
    return plan


def state(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = torch.load(folder / tower_training.CHECKPOINT, weights_only=True)
    return kept


def test_a_training_that_was_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole, cut = prepared(tmp_path / "whole", 12), prepared(tmp_path / "cut", 12)
    code = f"from headrace.jobs.batch.training import tower_training; tower_training.run({str(cut)!r})"
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    while running.poll() is None and not (cut / tower_training.CHECKPOINT).exists():
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < state(cut)["epoch"] < 12
    tower_training.run(str(cut))
    tower_training.run(str(whole))
    ended, expected = state(cut), state(whole)
    assert ended["epoch"] == expected["epoch"]
    for name, value in expected["best_state"].items():
        np.testing.assert_array_equal(ended["best_state"][name].numpy(), value.numpy())


TWO = np.arange(2)
JUDGED = Judges(Users(Rows(np.arange(3), TWO, np.ones(2)), nothing(2)), Excluded(TWO, TWO), TWO, np.array([2, 3]))


def test_a_list_of_equal_scores_or_of_no_numbers_is_the_worst() -> None:
    """Two judges who were shown items 0 and 1, and should find 2 and 3 of 40."""
    X, Y = np.eye(2, dtype=np.float32), np.zeros((40, 2), np.float32)
    Y[2, 0], Y[3, 1] = 2, 2
    assert tower_training.ranks_of(X, Y, JUDGED).tolist() == [0, 0]
    assert tower_training.ndcg(tower_training.ranks_of(X, Y, JUDGED), JUDGED) == 1
    Y[[0, 5, 7], 0] = 2, 2, 3  # 0 was shown; 5 is a tie, and 7 better
    assert tower_training.ranks_of(X, Y, JUDGED).tolist() == [2, 0]
    for same in (0 * X, np.full_like(X, np.nan)):
        assert tower_training.ndcg(tower_training.ranks_of(same, Y, JUDGED), JUDGED) == 0
    for table in (np.ones_like(Y), np.full_like(Y, np.nan)):
        assert tower_training.ndcg(tower_training.ranks_of(X, table, JUDGED), JUDGED) == 0


def test_the_best_epoch_is_the_first_with_the_highest_quality() -> None:
    now, bests = TrainingProgress(0, -1.0, 0), []
    for quality in (0.0, 0.0, 0.2, 0.2, 0.1):
        now = now.after(quality)
        bests.append(now.since == 0)
    assert bests == [True, False, True, False, False]
    assert now == TrainingProgress(5, 0.2, 2)


def test_an_epoch_that_diverges_ends_the_training_and_is_not_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepared(tmp_path / "towers", 3)
    tower_training.run(str(folder))
    before = state(folder)
    before["state"]["out.weight"] *= 1e38  # finite, but no score is
    torch.save(before, folder / tower_training.CHECKPOINT)
    planned(folder, 12)
    for _ in range(2):  # a retry says so, too
        capsys.readouterr()
        tower_training.run(str(folder))
        assert capsys.readouterr().out.endswith(
            "epoch 4 left numbers that are not finite: the training ends before it\n"
        )
    ended = state(folder)
    assert ended["epoch"] == 3
    for name, value in before["best_state"].items():
        np.testing.assert_array_equal(ended["best_state"][name].numpy(), value.numpy())
        assert value.isfinite().all()


@pytest.mark.parametrize(("able", "judges"), [(9, 0), (10, 1)])
def test_without_judges_all_epochs_are_trained_and_the_last_is_the_best(tmp_path: Path, able: int, judges: int) -> None:
    folder = prepared(tmp_path / "towers", 12, some_items()[:able], patience=1)
    tower_training.run(str(folder))
    ended = state(folder)
    assert (ended["epoch"] == 12) == (judges == 0)
    if not judges:
        torch.testing.assert_close(ended["best_state"], ended["state"], rtol=0, atol=0)


def test_judges_are_asked_for_their_newest_takes_and_nothing_of_these_is_trained_on(tmp_path: Path) -> None:
    items = some_items()
    plan = small_towers.planned(settings())
    sequences = written(tmp_path, views(items), plan)
    left, judged = tower_training.apart(sequences, plan.window, 1)
    judges = np.flatnonzero(left.ends < sequences.ends)
    assert len(judges) == USERS // 10 == len(judged.users.taken.indptr) - 1
    for row, user in enumerate(judges.tolist()):
        newest = max(1, len(items[user]) // 5)
        shown, wanted = items[user][:-newest], items[user][-newest:]
        assert judged.columns[judged.owners == row].tolist() == wanted.tolist()
        assert sorted(judged.users.taken.columns[slice(*judged.users.taken.indptr[row : row + 2])]) == sorted(shown)
        assert judged.seen.items[judged.seen.users == row].tolist() == shown.tolist()
        assert left.take_ends[user] - left.take_starts[user] == len(shown) == left.ends[user] - left.starts[user]


def test_a_wanted_item_that_was_seen_has_the_worst_rank() -> None:
    X, Y = np.eye(2, dtype=np.float32), np.ones((40, 2), np.float32)
    seen = JUDGED._replace(columns=TWO)
    assert tower_training.ranks_of(X, Y, seen).tolist() == [39, 39]


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    plan = small_towers.planned(settings())
    assert tower_training.device_of(msgspec.structs.replace(plan, device="cpu"), 0).type == "cpu"
    if not torch.cuda.is_available():
        assert tower_training.device_of(plan, 0).type == "cpu"
        with pytest.raises(HeadraceError, match="device must be auto or cpu where torch finds no GPU, got cuda"):
            tower_training.device_of(msgspec.structs.replace(plan, device="cuda"), 0)


def test_scores_that_overflow_are_not_finite() -> None:
    model, large = torch.nn.Linear(1, 1), np.full((1, 4), 9e18, np.float32)
    assert tower_training.is_finite(model, large, large)
    assert not tower_training.is_finite(model, large, 2 * large)
    assert tower_training.is_finite(model, np.empty((0, 4), np.float32), large)
    for broken in (np.nan, np.inf):
        assert not tower_training.is_finite(model, large, np.full((1, 4), broken))
    model.weight.data[:] = np.nan
    assert not tower_training.is_finite(model, large, large)
