"""Popularity: what most users took. It is the floor that every other family must beat, and knows everybody."""

from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.connections import Section
from headrace.infra.errors import HeadraceError
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
    try:
        return PopularityScorer(model_files.items(folder), np.load(folder / USERS))
    except (OSError, ValueError) as error:
        raise HeadraceError(f"{folder / USERS} must be an array of numbers: {error}") from None


FAMILY = Family(Popularity, train, load, load)
