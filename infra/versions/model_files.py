"""The files that a model's folder has, whatever its family: a night's model, and the version that is made of it.

items.json         item ids in code point order
popular.json       [item id, users], best first
model.json         `Trained`; a version of 0.2.0 has only manifest.json, which says the same
item_factors.npy   (items, f) float32, of families whose score is a product
user_gram.npy      (f, f) float64, X'X, of the same
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.infra.errors import HeadraceError

T = TypeVar("T")
ITEMS, POPULAR, MODEL, MANIFEST = "items.json", "popular.json", "model.json", "manifest.json"
FACTORS, GRAM = "item_factors.npy", "user_gram.npy"


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    kind: str  # the family, as night.models names it
    dims: dict[str, int]  # items, users, and others such as factors
    parameters: dict[str, Any]  # half_life_ms, rating_max, history, and those of the family
    lineage: dict[str, Any]  # date, protocol, events, digest, offsets, commit, python, packages, ...
    seconds: float = 0.0

    @property
    def strength(self) -> tuple[float, float]:
        """Returns half_life_ms and rating_max: how events become strengths (udfs/factors/confidence.py)."""
        return self.parameters["half_life_ms"], self.parameters["rating_max"]


def description(folder: Path) -> Trained:
    """Returns what a model says of itself. Raises HeadraceError if its file does not load."""
    described = folder / MODEL
    return read(described if described.is_file() else folder / MANIFEST, Trained)


def items(folder: Path) -> list[str]:
    return read(folder / ITEMS, list[str])


def popular(folder: Path) -> list[tuple[str, int]]:
    return read(folder / POPULAR, list[tuple[str, int]])


def array(path: Path, what: str) -> NDArray[Any]:
    """Returns an array, mapped into memory. Raises HeadraceError, which says `what` it holds, if it does not load."""
    try:
        return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise HeadraceError(f"{path} must be an array of {what}: {error}") from None


def read(path: Path, kind: type[T]) -> T:
    """Raises HeadraceError if the file is not there or holds something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise HeadraceError(f"{path} must be a file of a trained model: {error}") from None
