"""Popularity: what most users took. It is the floor that every other family must beat, and knows everybody."""

from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.connections import Section
from headrace.infra.versions import model_files
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.popularity_scorer import PopularityScorer

USERS = "item_users.npy"


class Popularity(Section):
    """It has no settings."""


def train(data: TrainingData, settings: Popularity, folder: Path, previous: Path | None) -> TrainingOutcome:
    del settings, previous
    durable.save(folder / USERS, np.bincount(data.rows().columns, minlength=len(data.items)))
    return TrainingOutcome(data.items, {})


def load(folder: Path) -> PopularityScorer:
    """Raises HeadraceError if the file of the numbers does not load."""
    return PopularityScorer(model_files.items(folder), model_files.array(folder / USERS, "numbers"))


FAMILY = Family(Popularity, train, load, load)
