"""Small two towers: their settings, and users and items to train them on."""

from pathlib import Path
from typing import Any

import numpy as np

from headrace.infra.settings import TwoTower, load
from headrace.jobs.batch.training import tower_sequences, tower_steps
from headrace.jobs.batch.training.blocks import Strength
from headrace.jobs.batch.training.tower_sequences import Sequences
from headrace.jobs.batch.training.tower_steps import TrainingPlan
from headrace.udfs.factors.als import Int, Rows
from headrace.udfs.factors.confidence import ACTIONS, Events
from tests.jobs.batch.lakes import DAY_MS

USERS, ITEMS = 60, 30
STRENGTH, HISTORY = Strength(90.0 * DAY_MS, 5.0), 50
HOW = STRENGTH._asdict() | {"history": HISTORY}


def nothing(rows: int) -> Rows:
    return Rows(np.zeros(rows + 1, np.int64), np.empty(0, np.int64), np.empty(0))


NO_CONTENT = nothing(ITEMS)


def views(items: list[Int], devices: int = 0) -> Events:
    """Returns views of these items by a user each, in this order. devices: kinds; user n has n modulo so many."""
    users = np.repeat(np.arange(len(items)), [len(each) for each in items])
    actions = np.full(len(users), ACTIONS.index("view"))
    says = (users % devices)[:, None] if devices else None
    unrated = np.full(len(users), np.nan)
    return Events(users, np.concatenate(items).astype(np.int64), actions, unrated, np.arange(len(users)), says)


def some_items(of_one: int = 0) -> list[Int]:
    """Returns the items of USERS who took 2 to 11, and of `of_one` more who took one of the first three."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, 12, USERS)
    return [rng.choice(ITEMS, n, replace=False) for n in lengths] + [np.array([n % 3]) for n in range(of_one)]


def settings(**changed: Any) -> TwoTower:
    small = {"factors": 8, "hidden": 16, "buckets": 64, "users": 16, "drawn": 8, "rate": 0.02, "epochs": 25}
    return load().night.two_tower.model_copy(update=small | changed)


def planned(s: TwoTower, items: int = ITEMS, has_features: bool = False) -> TrainingPlan:
    return tower_steps.planned(items, nothing(items), s, HOW, has_features)


def written(folder: Path, events: Events, plan: TrainingPlan) -> Sequences:
    tower_sequences.write(folder, events, plan.window)
    return tower_sequences.read(folder)
