"""Item-item neighbours: what those who took the same items took beside them.

Sarwar, Karypis, Konstan, Riedl 2001: score(u, i) = sum over the user's items j of cos(j, i), over the nearest
neighbours of each j. The live lists are those of the night: a sum of at most `session.history` rows.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from headrace.infra.connections import Positive, Section
from headrace.infra.versions import model_files
from headrace.jobs.batch.families import neighbour_files
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome
from headrace.udfs.recommenders.neighbour_scorer import NeighbourScorer


class ItemItem(Section):
    neighbours: Positive = 200  # of each item
    shrink: Annotated[float, Field(ge=0)] = 0.0  # users added to those who took both, so that few do not look certain
    by_strength: bool = False  # an item of the history counts by its strength; else each counts alike


def train(data: TrainingData, settings: ItemItem, folder: Path, previous: Path | None) -> TrainingOutcome:
    from headrace.jobs.batch.training import neighbourhoods

    del previous
    weights = neighbourhoods.cosines(data.rows(), len(data.items), settings.neighbours, settings.shrink)
    neighbour_files.write(folder, weights)
    return TrainingOutcome(data.items, settings.model_dump())


def load(folder: Path) -> NeighbourScorer:
    by_strength = model_files.description(folder).parameters.get("by_strength", False)
    return NeighbourScorer(model_files.items(folder), neighbour_files.read(folder), by_strength)


FAMILY = Family(ItemItem, train, load, load)
