"""The ALS job on Spark against dense matrices and numpy.linalg.solve, which share no code with it."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyspark")

from infra.training import Training
from jobs.batch import als as job
from jobs.batch.night import Night
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, T0_MS, frame
from udfs import als
from udfs.als import Objective

pytestmark = pytest.mark.spark
Float = NDArray[np.float64]
NIGHT = Night(date(2026, 1, 31))
HOW = Training(4, 3, als.ials(0.7, 0.02, 0.3, 0.8), 2.0 * DAY_MS, 5.0, 50, seed=3)
WEIGHTS = {"view": 1.0, "click": 1.5, "like": 3.0, "purchase": 5.0, "search": 0.0}


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
    """The minimiser of each row of R, one dense system each."""
    X = np.zeros((len(R), Y.shape[1]))
    for u, r in enumerate(R):
        seen = (r > 0).astype(float)
        A = Y.T @ np.diag(o.unobserved + o.alpha * r) @ Y
        A += o.reg * (seen.sum() + o.unobserved * len(Y)) ** o.nu * np.eye(Y.shape[1])
        X[u] = np.linalg.solve(A, Y.T @ (o.alpha * r + o.unobserved * o.target * seen))
    return X


def build(spark: Any, events: pd.DataFrame, how: Training = HOW, night: Night = NIGHT) -> Any:
    return job.build(spark.createDataFrame(events, SCHEMA), how, night, "days:1")


@pytest.mark.parametrize("objective", [HOW.objective, als.hu(2.0, 0.1)])
def test_equals_dense_solves(spark: Any, objective: Objective) -> None:
    events, how = some_events(1), HOW._replace(objective=objective)
    contents, described = build(spark, events, how)
    R, items = dense(events, how.half_life_ms)
    Y: Float = als.initial(len(items), how.factors, np.random.default_rng(how.seed)).astype(np.float64)
    for _ in range(how.iterations):
        X = obvious(R, Y, objective)
        Y = obvious(R.T, X, objective)
    assert contents.items == items
    scores, expected = contents.item_factors @ contents.item_factors.T, Y @ Y.T  # the basis of the factors is free
    np.testing.assert_allclose(scores, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.linalg.eigvalsh(contents.user_gram), np.linalg.eigvalsh(X.T @ X), rtol=1e-4)
    assert described.dims == {"items": len(items), "factors": how.factors, "users": len(R)}
