"""User-user neighbours: what those take who took what the user took (udfs/recommenders/user_scorer.py).

A new user needs no training: neighbours are looked up for whoever is asked for, at night and in the stream.
"""

from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.connections import Positive, Section
from headrace.infra.versions import model_files
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.user_scorer import UserScorer

FILES = ("baskets_indptr.npy", "baskets_columns.npy")


class UserKnn(Section):
    neighbours: Positive = 200  # users whose baskets count
    users_max: Positive = 100_000  # kept: those with most items


def train(data: TrainingData, settings: UserKnn, folder: Path, previous: Path | None) -> TrainingOutcome:
    from headrace.jobs.batch.training import neighbourhoods

    del previous
    R = neighbourhoods.baskets(data.rows(), len(data.items))
    kept = np.sort(np.argsort(-np.diff(R.indptr), kind="stable")[: settings.users_max])
    some = R[kept]
    some.sort_indices()
    for file, array in zip(FILES, (some.indptr.astype(np.int64), some.indices.astype(np.int32)), strict=True):
        durable.save(folder / file, array)
    return TrainingOutcome(data.items, settings.model_dump())


def load(folder: Path) -> UserScorer:
    """Raises HeadraceError if a file of the baskets does not load, ValueError if they do not fit each other."""
    items, neighbours = model_files.items(folder), model_files.description(folder).parameters["neighbours"]
    indptr, columns = (model_files.array(folder / file, "baskets") for file in FILES)
    return UserScorer(items, indptr, columns, neighbours)


FAMILY = Family(UserKnn, train, load, load)
