"""Two towers on Spark: what a resumed training, a new user and a new item get."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import TwoTower
from headrace.jobs.batch import two_tower
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import model_folder
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.scorer import Scorer
from headrace.jobs.batch.training.towers import Users
from headrace.udfs.factors import als
from headrace.udfs.factors.confidence import histories
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, frame
from tests.jobs.batch.training.small_towers import DEVICES, ITEMS, NO_CONTENT, NO_FEATURES, settings, some_rows

pytestmark = pytest.mark.spark
NIGHT = Night(date(2026, 1, 31))
HOW = Training(8, 1, als.ials(), 90.0 * DAY_MS, 5.0, 50, seed=1)
FIELDS = f"{SCHEMA}, category STRING, price DOUBLE"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))


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


def test_a_training_goes_on_from_one_that_read_the_same() -> None:
    plan, rows = two_tower.planned(30, NO_CONTENT, settings()), some_rows()
    read: list[Any] = ["1f", plan, rows, NO_FEATURES, NO_CONTENT]
    others = [["2f", *read[1:]], ["1f", two_tower.planned(30, NO_CONTENT, settings(seed=2)), *read[2:]]]
    others += [["1f", plan, rows._replace(strengths=2 * rows.strengths), NO_FEATURES, NO_CONTENT]]
    others += [["1f", plan, rows, DEVICES, NO_CONTENT], ["1f", plan, rows, NO_FEATURES, DEVICES]]
    names = [two_tower._fingerprint(*each) for each in (read, *others)]
    assert len({*names}) == 6
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


def test_towers_that_diverge_at_once_are_refused(spark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = two_tower.planned(ITEMS, NO_CONTENT, settings(rate=1e30))
    with pytest.raises(Refusal, match=r"must stay finite, .* at night.two_tower.rate = 1e\+30: lower the rate"):
        two_tower.fit(Users(some_rows(), NO_FEATURES), NO_CONTENT, plan, 1, tmp_path / "work")
    assert "epoch 1 left numbers that are not finite: the training ends before it\n" in capfd.readouterr().out


def test_one_user_is_too_few(spark: Any, tmp_path: Path) -> None:
    events = checkerboard(6)
    with pytest.raises(HeadraceError, match="training needs at least 2 users, got 1"):
        build(spark, events[events.user_id == "u001"], settings())
