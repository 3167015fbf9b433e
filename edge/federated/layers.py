"""A model as named arrays, for apps, and as one vector, for rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]  # by name, in the model's order
Train = Callable[[Arrays, int], Arrays]  # (arrays, round) -> the arrays after training on the node's own data
Layers = list[tuple[str, str, list[int]]]  # name, type, shape: `layers` of schemas/round.avsc


def flat(arrays: Arrays) -> NDArray[np.float64]:
    """All arrays as one vector (length,), in their order."""
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays.values()])


def shaped(vector: NDArray[Any], layers: Layers) -> Arrays:
    """The arrays of a vector (length,): the inverse of `flat`."""
    arrays, at = {}, 0
    for name, kind, shape in layers:
        size = int(np.prod(shape, dtype=np.int64))
        arrays[name] = vector[at : at + size].astype(kind).reshape(shape)
        at += size
    return arrays
