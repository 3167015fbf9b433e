"""EASE: a linear autoencoder of items in closed form, with a diagonal of zeros.

Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data" (arXiv:1905.03375), eq. 8: with G = R'R + reg I and
P its inverse, W = I - P diag(1 / P_jj); score(u, i) = sum over the user's items j of W_ji. Where we differ: only the
`kept` weights of each row that are farthest from 0 are kept. Training takes 16 bytes a pair of items: 6.4 GB at 20,000.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from headrace.infra.connections import Positive, Section
from headrace.infra.errors import Refusal
from headrace.infra.versions import model_files
from headrace.jobs.batch.families import neighbour_files
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.neighbour_scorer import NeighbourScorer


class Ease(Section):
    reg: Annotated[float, Field(gt=0)] = 300.0
    kept: Positive = 1000  # weights of each item
    items_max: Positive = 20_000  # its time grows with the third power of the items, its memory with the second


def train(data: TrainingData, settings: Ease, folder: Path, previous: Path | None) -> TrainingOutcome:
    """Raises Refusal for more items than `items_max`."""
    from headrace.jobs.batch.training import neighbourhoods

    del previous
    if len(data.items) > settings.items_max:
        limit = f"night.families.ease.items_max = {settings.items_max:,}"
        raise Refusal(f"ease inverts a matrix of items x items: items must be at most {limit}, got {len(data.items):,}")
    R = neighbourhoods.baskets(data.rows(), len(data.items)).astype(np.float64)
    neighbour_files.write(folder, neighbourhoods.autoencoder(R, settings.reg, settings.kept))
    return TrainingOutcome(data.items, settings.model_dump())


def load(folder: Path) -> NeighbourScorer:
    return NeighbourScorer(model_files.items(folder), neighbour_files.read(folder))


FAMILY = Family(Ease, train, load, load)
