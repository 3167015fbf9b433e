"""Small two towers: their settings, and users and items to train them on."""

from typing import Any

import numpy as np

from headrace.infra.settings import TwoTower, load
from headrace.udfs.factors.als import Rows

USERS, ITEMS = 60, 30


def nothing(rows: int) -> Rows:
    return Rows(np.zeros(rows + 1, np.int64), np.empty(0, np.int64), np.empty(0))


NO_FEATURES, NO_CONTENT = nothing(USERS), nothing(ITEMS)
DEVICES = Rows(np.arange(USERS + 1), np.arange(USERS) % 3, np.ones(USERS))


def some_rows(of_one: int = 0) -> Rows:
    """Returns USERS who took 2 to 11 items, and `of_one` more who took one of the first three."""
    rng = np.random.default_rng(1)
    lengths = np.concatenate([rng.integers(2, 12, USERS), np.ones(of_one, np.int64)])
    columns = [np.sort(rng.choice(ITEMS, n, replace=False)) for n in lengths[:USERS]]
    columns.append(np.arange(of_one) % 3)
    return Rows(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(columns), np.ones(lengths.sum()))


def settings(**changed: Any) -> TwoTower:
    small = {"factors": 8, "hidden": 16, "buckets": 64, "users": 16, "drawn": 8, "rate": 0.02, "epochs": 25}
    return load().night.two_tower.model_copy(update=small | changed)
