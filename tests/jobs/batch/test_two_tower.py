"""The family of two towers on Spark: what a resumed training, a new user and a new item get."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import TwoTower
from headrace.infra.versions import model_files
from headrace.jobs.batch.families.two_tower import FAMILY
from headrace.jobs.batch.training import model_folder, tower_model
from headrace.jobs.batch.training.night_data import NightData
from headrace.udfs.factors.als import Rows
from headrace.udfs.factors.confidence import UNKNOWN, Events
from headrace.udfs.recommenders import contract
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.tower_scorer import TowerScorer
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, frame
from tests.jobs.batch.training.small_towers import (
    HISTORY,
    ITEMS,
    NO_CONTENT,
    STRENGTH,
    planned,
    settings,
    some_items,
    views,
)

pytestmark = pytest.mark.spark
FIELDS = f"{SCHEMA}, category STRING, price DOUBLE"


def checkerboard(side: int, seed: int = 1) -> pd.DataFrame:
    """User u took the items of their own parity but item u; the categories are the parities."""
    cells = [(user, item) for user in range(side) for item in range(side) if user % 2 == item % 2 and user != item]
    rows = [{"user_id": f"u{user:03}", "item_id": f"i{item:03}"} for user, item in cells]
    return frame(rows).assign(category=[("even", "odd")[item % 2] for _, item in cells], price=10.0)


def build(spark: Any, events: pd.DataFrame, s: TwoTower, folder: Path, fields: str = FIELDS) -> TowerScorer:
    folder.mkdir(exist_ok=True)
    data = NightData(spark.createDataFrame(events, fields), STRENGTH, HISTORY)
    described(folder, FAMILY.train(data, s, folder, None).items)
    scorer = FAMILY.load(folder)
    assert isinstance(scorer, TowerScorer)
    assert scorer.sound() == []
    return scorer


def described(folder: Path, items: list[str]) -> None:
    about = model_files.Trained(kind="two_tower", dims={}, parameters={"history": HISTORY}, lineage={})
    (folder / model_files.ITEMS).write_bytes(msgspec.json.encode(items))
    (folder / model_files.MODEL).write_bytes(msgspec.json.encode(about))


def known(scorer: TowerScorer, events: pd.DataFrame) -> Past:
    asked = model_folder.events(events, {item: n for n, item in enumerate(scorer.items)})
    return contract.past(asked, int(asked.users[-1]) + 1, len(scorer.items), 90.0 * DAY_MS, 5.0)


def scores_of(scorer: TowerScorer, events: pd.DataFrame) -> Any:
    asked = known(scorer, events)
    return scorer.score(asked, np.tile(np.arange(len(scorer.items)), (asked.users, 1)))


def test_a_checkerboard_and_a_new_user_and_a_new_item(
    spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`new` is in the catalogue alone, and of the even category: even users prefer it to all odd items."""
    side, file = 40, tmp_path / "items.csv"
    file.write_text("item_id,category,title\nnew,even,\ni001,odd,a lamp\n")
    events = checkerboard(side)
    draft = tmp_path / "draft"
    scorer = build(spark, events, settings(catalogue=file.as_uri(), processes=2), draft)
    assert f"{file.as_uri()}: 2 items, 1 of them without an event\n" in capsys.readouterr().out
    fourth = events[events.user_id == "u004"].assign(user_id="z-new")
    scores = scores_of(scorer, pd.concat([events, fourth]))
    held = scores[np.arange(side), np.arange(side)]
    other = np.where(np.add.outer(np.arange(side), np.arange(side)) % 2 == 1, scores[:side, :side], -np.inf)
    assert (held > other.max(axis=1)).all()
    assert scores[side, 4] > scores[side, 1:side:2].max()
    assert scorer.items[-1] == "new"
    assert (scores[0:side:2, side] > scores[0:side:2, 1:side:2].max(axis=1)).all()
    gram = np.load(draft / model_files.GRAM)
    X = scorer.user_vectors(known(scorer, events))
    np.testing.assert_allclose(gram, X.T @ X, rtol=1e-4)
    assert not any((tmp_path / ".two_tower").glob("*/checkpoint.pt"))


def test_a_training_goes_on_from_one_that_read_the_same() -> None:
    plan, content = planned(settings()), Rows(np.arange(ITEMS + 1), np.arange(ITEMS) % 3, np.ones(ITEMS))
    events = views(some_items(), devices=3)
    read: list[Any] = [plan, NO_CONTENT, events]
    others: list[list[Any]] = [[planned(settings(seed=2)), *read[1:]], [plan, content, events]]
    others += [[plan, NO_CONTENT, events._replace(**{name: value[::-1]})] for name, value in changing(events)]
    others += [[plan, NO_CONTENT, events._replace(features=None)]]
    names = [tower_model.fingerprint(*each) for each in (read, *others)]
    assert len({*names}) == 8
    assert tower_model.fingerprint(*read) == names[0]


def changing(events: Events) -> list[tuple[str, Any]]:
    """Returns the columns that are not the same from behind."""
    return [(name, getattr(events, name)) for name in ("users", "items", "t_ms", "features")]


def test_an_item_has_its_place_in_a_longer_list() -> None:
    events = views([np.array([0, 2]), np.array([1])])._replace(items=np.array([0, 2, UNKNOWN]))
    placed = tower_model.placed(events, ["b", "c", "e"], ["a", "b", "c", "d", "e"])
    assert placed.items.tolist() == [1, 4, UNKNOWN]


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
    scorer = build(spark, events, settings(patience=25), tmp_path, f"{FIELDS}, device STRING")
    places = {item: n for n, item in enumerate(scorer.items)}
    strangers = events[events.user_id >= "u120"].reset_index(drop=True)
    scores = scores_of(scorer, strangers)
    even, odd = ([places[item] for item in scorer.items if item.startswith(side)] for side in ("even", "odd"))
    assert (scores[0::2][:, even].min(axis=1) > scores[0::2][:, odd].max(axis=1)).all()
    assert (scores[1::2][:, odd].min(axis=1) > scores[1::2][:, even].max(axis=1)).all()
    unknown = scorer.user_vectors(known(scorer, strangers.drop(columns="device")))
    assert np.ptp(unknown, axis=0).max() < 1e-5


def test_towers_that_diverge_at_once_are_refused(spark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = planned(settings(rate=1e30))
    with pytest.raises(Refusal, match=r"must stay finite, .* at night.two_tower.rate = 1e\+30: lower the rate"):
        tower_model.fit(views(some_items()), NO_CONTENT, plan, 1, tmp_path / "work")
    assert "epoch 1 left numbers that are not finite: the training ends before it\n" in capfd.readouterr().out


def test_one_user_is_too_few(spark: Any, tmp_path: Path) -> None:
    events = checkerboard(6)
    with pytest.raises(HeadraceError, match="training needs at least 2 users, got 1"):
        build(spark, events[events.user_id == "u001"], settings(), tmp_path)


@pytest.mark.parametrize("name", ["tower_taken.npy", model_files.FACTORS])
def test_a_missing_or_changed_file_is_an_error(tmp_path: Path, name: str) -> None:
    for file in ("tower_taken.npy", "tower_features.npy", "tower_hidden.npy", "tower_out.npy", model_files.FACTORS):
        np.save(tmp_path / file, np.zeros((2, 2)))
    described(tmp_path, ["a", "b"])
    FAMILY.load(tmp_path)
    np.save(tmp_path / name, np.zeros(2))
    with pytest.raises(HeadraceError, match=f"{name} must have rows and columns, got "):
        FAMILY.load(tmp_path)
    (tmp_path / name).write_bytes(b"no array")
    with pytest.raises(HeadraceError, match=f"{name} must be an array of a model of two towers"):
        FAMILY.load(tmp_path)
