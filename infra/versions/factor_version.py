"""Versions of item factors that no night made: of `headrace train`, and of the demo."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.infra import durable
from headrace.infra.versions import model_files, store
from headrace.infra.versions.model_files import Trained
from headrace.infra.versions.store import Contents, Manifest


class FactorContents(NamedTuple):
    item_factors: NDArray[np.float32]  # (items, f)
    user_gram: NDArray[np.float64]  # (f, f), X'X
    items: list[str]
    popular: list[tuple[str, int]]  # item id, users; best first
    left_out: tuple[str, ...] = ()  # items that no list may hold


def write_files(folder: Path, contents: FactorContents) -> None:
    """Writes the files of a family of factors."""
    durable.save(folder / model_files.FACTORS, contents.item_factors)
    durable.save(folder / model_files.GRAM, contents.user_gram)


def write(
    contents: FactorContents, created_ms: int, metrics: dict[str, float], version: str | None = None, **described: Any
) -> Manifest:
    """Makes a version. described: kind, users, parameters and lineage. Raises ModelError as `store.write`."""
    dims = {"items": len(contents.item_factors), "factors": contents.item_factors.shape[-1]}
    about = Trained(dims=dims | {"users": described.pop("users")}, **described)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_files(folder, contents)
        durable.write(folder / model_files.MODEL, msgspec.json.format(msgspec.json.encode(about)))
        return store.write(folder, Contents(*contents[2:]), created_ms, metrics, version)
