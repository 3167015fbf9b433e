"""Factors by implicit alternating least squares: Hu, Koren, Volinsky 2008; Rendle et al. 2022 (udfs/factors/als.py).

The training is jobs/batch/training/als_training.py, over Spark. Users are folded in by one least-squares problem each,
at night and in the stream alike.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Als
from headrace.infra.versions import model_files
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Objective
from headrace.udfs.recommenders.als_scorer import AlsScorer
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome

if TYPE_CHECKING:  # the stream opens models without Spark
    from headrace.jobs.batch.training.night_data import NightData


def train(data: TrainingData, settings: Als, folder: Path, previous: Path | None) -> TrainingOutcome:
    from headrace.jobs.batch.training import als_training, warm_start

    night = cast("NightData", data)
    how = als_training.training(settings, night.history)
    start, older = warm_start.factors(data.items, how, previous)
    fitted = als_training.fit(night.matrix(), start, how, settings.tolerance)
    durable.save(folder / model_files.FACTORS, fitted.Y)
    durable.save(folder / model_files.GRAM, als.gram(fitted.X))
    parameters = how.parameters() | {"tolerance": settings.tolerance}
    return TrainingOutcome(data.items, parameters, {"factors": how.factors}, {"warm_start": older})


def load(folder: Path) -> AlsScorer:
    """Opens the model. Raises HeadraceError if its factors do not fit its items."""
    items, parameters = model_files.items(folder), model_files.description(folder).parameters
    if "objective" not in parameters:
        raise HeadraceError(f"{folder / model_files.MODEL}: parameters must have an objective")
    return AlsScorer(items, factors(folder, len(items)), Objective(**parameters["objective"]))


def factors(folder: Path, items: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Returns the item factors, mapped into memory. Raises HeadraceError unless there is a row for each item."""
    path = folder / model_files.FACTORS
    Y = model_files.array(path, "factors")
    if Y.ndim != 2 or len(Y) != items:
        raise HeadraceError(f"{path} must have a row for each of {items} items, got {Y.shape}")
    return Y


FAMILY = Family(Als, train, load, load)
