"""Two towers: an item's vector comes from its content, a user's from what they did, from day one.

The equation and the training are docs/night.md, "Two towers"; the user tower without torch is
udfs/recommenders/tower_scorer.py, at night and in the stream alike.

    item_factors.npy     (items, f), the offered table
    user_gram.npy        (f, f), X'X
    tower_taken.npy      (items, f)
    tower_features.npy   (buckets, f)
    tower_hidden.npy     (h, f + 1)
    tower_out.npy        (f, h + 1)
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import TwoTower
from headrace.infra.versions import model_files
from headrace.udfs.factors.als import Real
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.tower_scorer import TowerScorer, UserTower

if TYPE_CHECKING:
    from headrace.jobs.batch.training.night_data import NightData

FILES = {name: f"tower_{name}.npy" for name in UserTower._fields}


def train(data: TrainingData, settings: TwoTower, folder: Path, previous: Path | None) -> TrainingOutcome:
    """Trains anew each night: `previous` is not read."""
    from headrace.jobs.batch.training import tower_model  # of the batch environment

    return tower_model.train(cast("NightData", data), settings, folder, FILES)


def load(folder: Path) -> TowerScorer:
    """Opens the model. Raises HeadraceError if a file is missing or is not an array."""
    tower = UserTower(*(_table(folder / FILES[name]) for name in UserTower._fields))
    history = model_files.description(folder).parameters["history"]
    return TowerScorer(model_files.items(folder), _table(folder / model_files.FACTORS), tower, history)


def _table(path: Path) -> Real:
    table = model_files.array(path, "a model of two towers")
    if table.ndim != 2:
        raise HeadraceError(f"{path} must have rows and columns, got {table.shape}")
    return table


FAMILY = Family(TwoTower, train, load, load)
