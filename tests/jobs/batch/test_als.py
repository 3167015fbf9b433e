"""The ALS job on Spark against dense matrices and numpy.linalg.solve, which share no code with it."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyspark")

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Als, load
from headrace.infra.versions import model_files
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch import train
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import blocks, model_folder, split
from headrace.jobs.batch.training.als_training import Fitted, fit
from headrace.jobs.batch.training.blocks import Strength
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.night_data import NightData
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Objective
from headrace.udfs.factors.als_sweep import TOLERANCE
from headrace.udfs.recommenders import contract
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, T0_MS, checkerboard, frame

pytestmark = pytest.mark.spark
Float = NDArray[np.float64]
NIGHT = Night(date(2026, 1, 31))
HOW = Training(4, 3, als.ials(0.7, 0.02, 0.3, 0.8), 2.0 * DAY_MS, 5.0, 50, seed=3)
STRENGTH = Strength(HOW.half_life_ms, HOW.rating_max)
WEIGHTS = {"view": 1.0, "click": 1.5, "like": 3.0, "cart": 4.0, "purchase": 5.0, "search": 0.0}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))


def some_events(seed: int, users: int = 40, items: int = 30, n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    drawn = zip(
        rng.integers(0, users, n),
        rng.integers(0, items, n),
        rng.choice([*WEIGHTS], n),
        rng.integers(0, 5 * DAY_MS, n),
        strict=True,
    )
    return frame([{"user_id": f"u{u}", "item_id": f"i{i}", "action": a, "t_ms": T0_MS - t} for u, i, a, t in drawn])


def dense(events: pd.DataFrame, half_life_ms: float) -> tuple[Float, list[str]]:
    users, items = (sorted(events[c].unique()) for c in ("user_id", "item_id"))
    items = sorted(events[events.action != "search"].item_id.unique())
    newest = events.groupby("user_id").t_ms.max()
    R = np.zeros((len(users), len(items)))
    for user, item, action, t_ms in zip(*(events[c] for c in ("user_id", "item_id", "action", "t_ms")), strict=True):
        if action != "search":
            weight = WEIGHTS[action] * 0.5 ** ((newest[user] - t_ms) / half_life_ms)
            R[users.index(user), items.index(item)] += weight
    return R, items


def obvious(R: Float, Y: Float, o: Objective) -> Float:
    """Returns the minimiser of each row of R, by one dense system each."""
    X = np.zeros((len(R), Y.shape[1]))
    for u, r in enumerate(R):
        seen = (r > 0).astype(float)
        A = Y.T @ np.diag(o.unobserved + o.alpha * r) @ Y
        A += o.reg * (seen.sum() + o.unobserved * len(Y)) ** o.nu * np.eye(Y.shape[1])
        X[u] = np.linalg.solve(A, Y.T @ (o.alpha * r + o.unobserved * o.target * seen))
    return X


def data(events: Any, how: Training) -> NightData:
    return NightData(events, Strength(how.half_life_ms, how.rating_max), how.history)


def built(spark: Any, events: pd.DataFrame, how: Training = HOW) -> tuple[NightData, Fitted]:
    given = data(spark.createDataFrame(events, SCHEMA), how)
    start = als.initial(len(given.items), how.factors, np.random.default_rng(how.seed))
    return given, fit(given.matrix(), start, how)


def settings(how: Training, **changes: Any) -> Als:
    o = how.objective
    return load().night.als.model_copy(
        update={
            "factors": how.factors, "iterations": how.iterations, "alpha": o.alpha, "reg": o.reg, "nu": o.nu,
            "unobserved": o.unobserved, "seed": how.seed, "tolerance": TOLERANCE,
            "half_life_days": how.half_life_ms / DAY_MS,
        }
        | changes
    )  # fmt: skip


@pytest.mark.parametrize("objective", [HOW.objective, als.hu(2.0, 0.1)])
def test_equals_dense_solves(spark: Any, objective: Objective) -> None:
    events, how = some_events(1), HOW._replace(objective=objective)
    given, fitted = built(spark, events, how)
    R, items = dense(events, how.half_life_ms)
    Y: Float = als.initial(len(items), how.factors, np.random.default_rng(how.seed)).astype(np.float64)
    for _ in range(how.iterations):
        X = obvious(R, Y, objective)
        Y = obvious(R.T, X, objective)
    assert given.items == items
    scores, expected = fitted.Y @ fitted.Y.T, Y @ Y.T  # the basis of the factors is free
    np.testing.assert_allclose(scores, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.linalg.eigvalsh(als.gram(fitted.X)), np.linalg.eigvalsh(X.T @ X), rtol=1e-4)
    assert given.users == len(R)


def test_blocks_do_not_change_the_result(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do more of them than users, nor the order of the events, nor whether they lie in the driver."""
    events = some_events(2, users=7)
    items = sorted(events[events.action != "search"].item_id.unique())
    fitted = []
    for count, seed, is_here in ((1, 1, True), (3, 2, True), (3, 1, False), (9, 3, False)):
        monkeypatch.setattr(blocks, "HERE_MAX", len(events) if is_here else 0)
        shuffled = spark.createDataFrame(events.sample(frac=1, random_state=seed), SCHEMA)
        strengths = blocks.matrix(shuffled, items, STRENGTH, count)
        assert isinstance(strengths.by_user.blocks, list) == is_here
        fitted.append(fit(strengths, als.initial(len(items), 4, np.random.default_rng(1)), HOW))
    for other in fitted[1:]:
        np.testing.assert_array_equal(other.X, fitted[0].X)
        np.testing.assert_array_equal(other.Y, fitted[0].Y)


def written(spark: Any, events: pd.DataFrame, how: Training, night: Night, protocol: str = "days:1") -> Trained:
    with night.writing("als") as draft:
        given = data(spark.createDataFrame(events, SCHEMA), how)
        return train.build(draft, "als", given, settings(how), night, protocol)


def test_a_checkerboard_gives_each_user_the_item_held_out(spark: Any) -> None:
    """So it does for a new user, who took what user 4 did."""
    events, side = checkerboard(20), 20
    written(spark, events, HOW._replace(factors=2, iterations=10), NIGHT)
    model = roster.load(NIGHT.folder / "als")
    fourth = events[events.user_id == "u004"].assign(user_id="z-new")
    asked = model_folder.events(pd.concat([events, fourth]), {item: n for n, item in enumerate(model.items)})
    past = contract.past(asked, side + 1, side, HOW.half_life_ms, HOW.rating_max)
    np.testing.assert_array_equal(model.lists(past, 1, np.arange(side)).items[:, 0], [*range(side), 4])


def test_a_warm_start_is_of_an_earlier_night_under_the_same_protocol(spark: Any) -> None:
    events, long, one = some_events(3), HOW._replace(iterations=12), HOW._replace(iterations=1)
    first = written(spark, events, long, NIGHT)
    assert first.lineage["warm_start"] is None
    later, earlier = Night(date(2026, 2, 1)), Night(date(2026, 1, 30))
    more = pd.concat([events, frame([{"user_id": "u1", "item_id": "new", "event_id": "x"}])])
    warm = written(spark, more, one, later)
    assert warm.lineage["warm_start"] == "2026-01-31"
    assert "new" in model_files.items(later.folder / "als")
    assert written(spark, events, one, earlier).lineage["warm_start"] is None
    assert written(spark, events, one, Night(date(2026, 2, 2)), "last:0.2").lineage["warm_start"] is None
    items, more_items = (model_files.items(n.folder / "als") for n in (NIGHT, later))
    before, after = (np.load(n.folder / "als" / model_files.FACTORS) for n in (NIGHT, later))
    same = [more_items.index(item) for item in items]
    scores, expected = (Y @ Y.T for Y in (after[same], before))
    assert np.abs(scores - expected).max() < 0.05 * np.abs(expected).max()


def test_an_older_model_that_does_not_open_is_no_start(spark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    events = some_events(6)
    written(spark, events, HOW, NIGHT)
    (NIGHT.folder / "als" / "model.json").write_text("{")
    assert written(spark, events, HOW, Night(date(2026, 2, 1))).lineage["warm_start"] is None
    assert "is no start: " in capsys.readouterr().out


def test_what_cannot_be_trained_on_says_so(spark: Any) -> None:
    searches = frame([{"user_id": "u", "item_id": "home", "action": "search"}])
    with pytest.raises(HeadraceError, match="training needs events on items, found none"):
        built(spark, searches)
    with pytest.raises(HeadraceError, match="training needs at least 2 users, got 1"):
        built(spark, frame([{"user_id": "u", "item_id": "a"}, {"user_id": "u", "item_id": "b"}]))


def test_factors_that_are_no_numbers_end_the_training(spark: Any) -> None:
    events = some_events(4)
    items = sorted(events[events.action != "search"].item_id.unique())
    strengths = blocks.matrix(spark.createDataFrame(events, SCHEMA), items, STRENGTH, 2)
    start = als.initial(len(items), 4, np.random.default_rng(1))
    start[0, 0] = np.nan
    with pytest.raises(HeadraceError, match="factors must be finite"):
        fit(strengths, start, HOW)


def test_the_digest_of_a_model_is_that_of_what_it_was_trained_on(spark: Any) -> None:
    events = spark.createDataFrame(some_events(5), SCHEMA)
    kept = split.trained_on(events, "last:0.2")
    with NIGHT.writing("als") as draft:
        described = train.build(draft, "als", data(kept, HOW), settings(HOW), NIGHT, "last:0.2")
    assert described.lineage["digest"] == split.digest(kept) != split.digest(events)
    assert described.lineage["events"] == kept.count()


def test_a_block_a_core_unless_they_would_be_large() -> None:
    assert [blocks.count(events, 2) for events in (0, 10_000_000, 10_000_001)] == [2, 2, 4]
