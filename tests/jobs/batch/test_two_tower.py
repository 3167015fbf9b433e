"""Two towers on Spark: what a resumed training, a new user and a new item get."""

import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

import torch

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import TwoTower, load
from headrace.jobs.batch import two_tower
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import model_folder, tower_training
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.scorer import Scorer
from headrace.jobs.batch.training.towers import Towers, Users
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Rows
from headrace.udfs.factors.confidence import histories
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, frame

pytestmark = pytest.mark.spark
NIGHT = Night(date(2026, 1, 31))
HOW = Training(8, 1, als.ials(), 90.0 * DAY_MS, 5.0, 50, seed=1)
FIELDS = f"{SCHEMA}, category STRING, price DOUBLE"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))


def settings(**changed: Any) -> TwoTower:
    small = {"factors": 8, "hidden": 16, "buckets": 64, "users": 16, "drawn": 8, "rate": 0.02, "epochs": 25}
    return load().night.two_tower.model_copy(update=small | changed)


def checkerboard(side: int, seed: int = 1) -> pd.DataFrame:
    """User u took the items of their own parity but item u; the categories are the parities."""
    cells = [(user, item) for user in range(side) for item in range(side) if user % 2 == item % 2 and user != item]
    rows = [{"user_id": f"u{user:03}", "item_id": f"i{item:03}"} for user, item in cells]
    return frame(rows).assign(category=[("even", "odd")[item % 2] for _, item in cells], price=10.0)


def build(spark: Any, events: pd.DataFrame, s: TwoTower) -> Scorer:
    with NIGHT.writing("two_tower") as draft:
        two_tower.build(spark.createDataFrame(events, FIELDS), HOW, s, NIGHT, "days:1", draft)
    return model_folder.load(NIGHT.folder / "two_tower")


def test_a_checkerboard_and_a_new_user_and_a_new_item(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`new` is in the catalogue alone, and of the even category: even users prefer it to all odd items."""
    side, file = 40, tmp_path / "items.csv"
    file.write_text("item_id,category,title\nnew,even,\ni001,odd,a lamp\n")
    events = checkerboard(side)
    scorer = build(spark, events, settings(catalogue=file.as_uri(), processes=2))
    assert f"{file.as_uri()}: 2 items, 1 of them without an event\n" in capsys.readouterr().out
    fourth = events[events.user_id == "u004"].assign(user_id="z-new")
    asked = model_folder.events(pd.concat([events, fourth]), {item: n for n, item in enumerate(scorer.items)})
    scores = scorer.user_vectors(asked, side + 1) @ scorer.item_factors.T
    folded = als.solve(
        als.basis(scorer.item_factors),
        histories(asked, side + 1, side + 1, HOW.half_life_ms).rows,
        model_folder.description(NIGHT.folder / "two_tower").objective,
    )
    for each in (scores, folded @ scorer.item_factors.T):
        held = each[np.arange(side), np.arange(side)]
        other = np.where(np.add.outer(np.arange(side), np.arange(side)) % 2 == 1, each[:side, :side], -np.inf)
        assert (held > other.max(axis=1)).all()
        assert each[side, 4] > each[side, 1:side:2].max()
    assert scorer.items[-1] == "new"
    assert (scores[0:side:2, side] > scores[0:side:2, 1:side:2].max(axis=1)).all()


NO_FEATURES = Rows(np.zeros(61, np.int64), np.empty(0, np.int64), np.empty(0))
DEVICES = Rows(np.arange(61), np.arange(60) % 3, np.ones(60))
NO_CONTENT = Rows(np.zeros(31, np.int64), np.empty(0, np.int64), np.empty(0))


def some_rows() -> Rows:
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, 12, 60)
    columns = np.concatenate([np.sort(rng.choice(30, n, replace=False)) for n in lengths])
    return Rows(np.concatenate([[0], np.cumsum(lengths)]), columns, np.ones(len(columns)))


def prepared(folder: Path, epochs: int) -> Path:
    folder.mkdir()
    tower_training.save(folder / tower_training.TAKEN, some_rows())
    tower_training.save(folder / tower_training.FEATURES, DEVICES)
    tower_training.save(folder / tower_training.CONTENT, NO_CONTENT)
    plan = two_tower.planned(30, NO_CONTENT, settings(epochs=epochs, patience=epochs, hard=4), has_features=True)
    (folder / tower_training.PLAN).write_bytes(msgspec.json.encode(plan))
    return folder


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


def test_what_is_hidden_leaves_something_shown() -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 6, 500)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    hidden = tower_training.to_hide(rng.random(indptr[-1]), indptr, 0.3)
    of_row = np.add.reduceat(np.append(hidden, False).astype(int), indptr[:-1]) * (lengths > 0)
    assert (of_row[lengths >= 2] >= 1).all()
    assert (of_row < np.maximum(lengths, 1)).all()


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_chance_to_be_offered_is_how_often_an_item_is(ranks: int) -> None:
    plan = two_tower.planned(30, NO_CONTENT, settings(users=2 * ranks, drawn=2, hard=3))
    users, offered = Users(some_rows(), NO_FEATURES), np.zeros(30)
    hard = np.repeat([0.3, 0.0], [3, 27]) + np.repeat([0.0, 0.1], [29, 1])
    for epoch in range(100):
        for step in tower_training.steps(users, plan, epoch, 0, ranks, hard):
            offered[step.items.numpy()] += 1
    expected = np.exp(tower_training.chances(users.taken, plan, hard, ranks).numpy())
    np.testing.assert_allclose(offered / (100 * 60 / plan.users), expected, atol=0.06)


def test_what_is_hard_is_listed_and_was_not_taken() -> None:
    """40 users who took the same two of 400 items; the towers list by the item's number, the highest first."""
    items = 400
    plan = two_tower.planned(items, NO_CONTENT, settings(hard=4))
    model = Towers(tower_training.shape(plan))
    with torch.no_grad():
        model.offered.ids[:] = torch.arange(items)[:, None].float()
        model.out.weight[:], model.out.bias[:] = 0, 1
    content = Rows(np.zeros(items + 1, np.int64), np.empty(0, np.int64), np.empty(0))
    columns = np.tile([350, 399], 40)
    nothing = Rows(np.zeros(41, np.int64), np.empty(0, np.int64), np.empty(0))
    users = Users(Rows(np.arange(0, 81, 2), columns, np.ones(80)), nothing)
    hard = tower_training.hard_negatives(model, users, content, plan, 0)
    first, last = items // 10, items // 2  # of so few items
    expected = np.setdiff1d(np.arange(items), columns)[::-1][first:last]
    assert sorted(np.flatnonzero(hard)) == sorted(expected)
    np.testing.assert_allclose(hard[expected], 1 / len(expected))
    assert not tower_training.hard_negatives(model, users, content, msgspec.structs.replace(plan, hard=0), 0).any()


def test_a_training_goes_on_from_one_that_read_the_same() -> None:
    plan = two_tower.planned(30, NO_CONTENT, settings())
    read: list[Any] = ["1f", plan, NO_FEATURES, NO_CONTENT]
    others = [["2f", *read[1:]], ["1f", two_tower.planned(30, NO_CONTENT, settings(seed=2)), *read[2:]]]
    others += [["1f", plan, DEVICES, NO_CONTENT], ["1f", plan, NO_FEATURES, DEVICES]]
    names = [two_tower._fingerprint(*each) for each in (read, *others)]
    assert len({*names}) == 5
    assert two_tower._fingerprint(*read) == names[0]


def test_what_is_known_of_a_user_counts(spark: Any, tmp_path: Path) -> None:
    """Everyone took what all take; u000 to u119 some items of their device's, which all others want, too."""
    rng = np.random.default_rng(1)
    common = [{"user_id": f"u{user:03}", "item_id": item} for user in range(140) for item in ("all-1", "all-2")]
    own = [
        {"user_id": f"u{user:03}", "item_id": f"{('even', 'odd')[user % 2]}-{item}"}
        for user in range(120)
        for item in rng.choice(15, 4, replace=False)
    ]
    events = frame(common + own).sort_values(["user_id", "item_id"], ignore_index=True)
    device = events.user_id.str[1:].astype(int).map(lambda user: ("phone", "desktop")[user % 2])
    events = events.assign(category=None, price=None, device=device)
    with NIGHT.writing("two_tower") as draft:
        given = spark.createDataFrame(events, f"{FIELDS}, device STRING")
        two_tower.build(given, HOW, settings(patience=25), NIGHT, "days:1", draft)
    scorer = model_folder.load(NIGHT.folder / "two_tower")
    places = {item: n for n, item in enumerate(scorer.items)}
    strangers = events[events.user_id >= "u120"].reset_index(drop=True)
    scores = scorer.user_vectors(model_folder.events(strangers, places), 20) @ scorer.item_factors.T
    even, odd = ([places[item] for item in scorer.items if item.startswith(side)] for side in ("even", "odd"))
    assert (scores[0::2][:, even].min(axis=1) > scores[0::2][:, odd].max(axis=1)).all()
    assert (scores[1::2][:, odd].min(axis=1) > scores[1::2][:, even].max(axis=1)).all()
    unknown = scorer.user_vectors(model_folder.events(strangers.drop(columns="device"), places), 20)
    assert np.ptp(unknown, axis=0).max() < 1e-5


def test_one_user_is_too_few(spark: Any, tmp_path: Path) -> None:
    events = checkerboard(6)
    with pytest.raises(HeadraceError, match="training needs at least 2 users, got 1"):
        build(spark, events[events.user_id == "u001"], settings())
