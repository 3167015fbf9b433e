"""The files of a family whose score sums rows of a sparse matrix."""

from pathlib import Path

import numpy as np

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.udfs.recommenders.sparse_scorer import Weights

FILES = {"indptr": "weights_indptr.npy", "columns": "weights_columns.npy", "values": "weights_values.npy"}


def write(folder: Path, weights: Weights) -> None:
    for name, file in FILES.items():
        durable.save(folder / file, getattr(weights, name))


def read(folder: Path) -> Weights:
    """Returns the weights, mapped into memory. Raises HeadraceError for a file that is missing or no array."""
    found = {}
    for name, file in FILES.items():
        try:
            found[name] = np.load(folder / file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise HeadraceError(f"{folder / file} must be an array of weights: {error}") from None
    return Weights(**found)
