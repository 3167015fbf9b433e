"""The files of a family whose score sums rows of a sparse matrix."""

from pathlib import Path

from headrace.infra import durable
from headrace.infra.versions import model_files
from headrace.udfs.recommenders.sparse_scorer import Weights

FILES = {"indptr": "weights_indptr.npy", "columns": "weights_columns.npy", "values": "weights_values.npy"}


def write(folder: Path, weights: Weights) -> None:
    for name, file in FILES.items():
        durable.save(folder / file, getattr(weights, name))


def read(folder: Path) -> Weights:
    """Returns the weights, mapped into memory. Raises HeadraceError for a file that is missing or no array."""
    return Weights(**{name: model_files.array(folder / file, "weights") for name, file in FILES.items()})
