"""A model as named arrays, as apps want it, and as one vector, as rounds do."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]  # by name, in the model's order
Train = Callable[[Arrays, int], Arrays]  # the arrays and the round -> the arrays after training on what is here
Layers = list[tuple[str, str, list[int]]]  # name, type, shape: `layers` of schemas/round.avsc


def flat(arrays: Arrays) -> NDArray[np.float64]:
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays.values()])


def shaped(vector: NDArray[Any], layers: Layers) -> Arrays:
    arrays, at = {}, 0
    for name, kind, shape in layers:
        size = int(np.prod(shape, dtype=np.int64))
        arrays[name] = vector[at : at + size].astype(kind).reshape(shape)
        at += size
    return arrays
