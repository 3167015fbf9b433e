"""PureSVD: the largest singular vectors of who took what; a user is the sum of the items' vectors.

Cremonesi, Koren, Turrin 2010 (udfs/recommenders/linear_scorer.py); the vectors by Halko, Martinsson, Tropp 2011, as
scikit-learn has it.
"""

from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.connections import NonNegative, Positive, Section
from headrace.infra.versions import model_files
from headrace.jobs.batch.families import als
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.linear_scorer import LinearScorer


class Svd(Section):
    factors: Positive = 64
    seed: NonNegative = 1


def train(data: TrainingData, settings: Svd, folder: Path, previous: Path | None) -> TrainingOutcome:
    from sklearn.utils.extmath import randomized_svd

    from headrace.jobs.batch.training import neighbourhoods

    del previous
    R = neighbourhoods.baskets(data.rows(), len(data.items)).astype(np.float64)
    factors = min(settings.factors, *R.shape)
    V = randomized_svd(R, factors, n_iter=4, random_state=settings.seed)[2].T
    durable.save(folder / model_files.FACTORS, V.astype(np.float32))
    return TrainingOutcome(data.items, settings.model_dump(), {"factors": factors})


def load(folder: Path) -> LinearScorer:
    items = model_files.items(folder)
    return LinearScorer(items, als.factors(folder, len(items)))


FAMILY = Family(Svd, train, load, load)
