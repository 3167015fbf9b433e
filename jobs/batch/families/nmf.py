"""Non-negative matrix factorisation: items as shares of topics, users as how much they like each.

Lee, Seung 1999; fitted by coordinate descent (Cichocki, Phan 2009), as scikit-learn has it. A user is folded in by
non-negative least squares (udfs/recommenders/nonnegative_scorer.py).
"""

import warnings
from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.connections import NonNegative, Positive, Section
from headrace.infra.versions import model_files
from headrace.jobs.batch.families import als
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.nonnegative_scorer import NonNegativeScorer


class Nmf(Section):
    factors: Positive = 32
    iterations: Positive = 100
    seed: NonNegative = 1


def train(data: TrainingData, settings: Nmf, folder: Path, previous: Path | None) -> TrainingOutcome:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    from headrace.jobs.batch.training import neighbourhoods

    del previous
    R = neighbourhoods.baskets(data.rows(), len(data.items)).astype(np.float64)
    factors = min(settings.factors, *R.shape)
    made = NMF(factors, init="nndsvda", max_iter=settings.iterations, random_state=settings.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the settings say how many iterations
        made.fit(R)
    durable.save(folder / model_files.FACTORS, made.components_.T.astype(np.float32))
    return TrainingOutcome(data.items, settings.model_dump(), {"factors": factors})


def load(folder: Path) -> NonNegativeScorer:
    items = model_files.items(folder)
    return NonNegativeScorer(items, als.factors(folder, len(items)))


FAMILY = Family(Nmf, train, load, load)
