"""A trained model as a step's folder holds it, and events of the lake as a model reads them."""

import platform
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.versions import model_files, store
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import split
from headrace.schemas import redis_keys
from headrace.udfs.factors.als import Int
from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, UNKNOWN, Events

COLUMNS = ("user_id", "item_id", "action", "rating", "t_ms")  # of the lake, which every model is made from
CONTENT = ("category", "price")  # of items, where the lake has them
PACKAGES = ("pyspark", "numpy", "pandas", "pyarrow", "torch")


def of(night: Night) -> dict[str, Path]:
    """Returns the folders of the night's models, by the step that made each. Raises HeadraceError if there is none."""
    folders = sorted(path.parent for path in night.folder.glob(f"[!.]*/{model_files.MODEL}"))
    if not folders:
        hint = f"`headrace run als --date {night.date}`"
        raise HeadraceError(f"night {night.date} has no model in {night.folder}: {hint}")
    return {folder.name: folder for folder in folders}


def write(folder: Path, items: list[str], popular: list[tuple[str, int]], trained: Trained) -> None:
    """Writes the files that every family has. Raises HeadraceError unless the items are in order, each once."""
    if items != sorted(set(items)) or "" in items:
        raise HeadraceError(f"{trained.kind} must name its items in code point order, each once, and none empty")
    durable.write(folder / model_files.ITEMS, msgspec.json.encode(items))
    durable.write(folder / model_files.POPULAR, msgspec.json.encode(popular))
    durable.write(folder / model_files.MODEL, msgspec.json.format(msgspec.json.encode(trained)))


def popular(items: list[str], users: Int) -> list[tuple[str, int]]:
    """Returns the items that anybody wanted and their users, best first; the rules of lists may leave out many.

    users (m,): how many users wanted each item.
    """
    best = np.argsort(-users, kind="stable")
    return [(items[item], int(users[item])) for item in best if users[item]]


def events(lake: pd.DataFrame, places: dict[str, int]) -> Events:
    """Returns rows of the lake, sorted by user_id, as columns. Users are numbered in that order, from 0.

    Raises HeadraceError for an unknown action.
    """
    users = (lake["user_id"] != lake["user_id"].shift()).cumsum().to_numpy(np.int64) - 1
    item_places = lake["item_id"].where(lake["action"] != "search").map(places)
    items: Int = np.asarray(item_places.fillna(UNKNOWN), np.int64)
    actions = pd.Categorical(lake["action"], categories=ACTIONS).codes.astype(np.int64)
    if (actions < 0).any():
        raise HeadraceError(f"action must be one of {', '.join(ACTIONS)}, got {lake['action'][actions < 0].iloc[0]!r}")
    ratings, t_ms = lake["rating"].to_numpy(np.float64), lake["t_ms"].to_numpy(np.int64)
    features = [_hashed(lake[name]) for name in redis_keys.PLACES if name in lake]
    return Events(users, items, actions, ratings, t_ms, np.column_stack(features) if features else None)


def _hashed(column: pd.Series) -> Int:
    """Returns a hash of what each event says about its shopper, or NO_FEATURE."""
    codes, values = pd.factorize(column)
    hashes = [zlib.crc32(f"{column.name}:{value}".encode()) for value in values]
    return np.array([*hashes, NO_FEATURE], np.int64)[codes]


def columns(lake: DataFrame) -> list[str]:
    """Returns the columns of the lake that `events` reads."""
    return [*COLUMNS, *(name for name in redis_keys.PLACES if name in lake.columns)]


def lineage(night: Night, protocol: str, trained_on: DataFrame, size: int) -> dict[str, Any]:
    """Returns what a training was made of. trained_on: exactly the events that it reads; size: how many they are."""
    landed = night.folder / "land" / "landed.json"
    offsets = msgspec.json.decode(landed.read_bytes())["topics"] if landed.exists() else {}
    packages = {name: metadata.version(name) for name in PACKAGES}
    data = {"events": size, "digest": split.digest(trained_on), "offsets": offsets}
    code = {"commit": store.commit(), "python": platform.python_version(), "packages": packages}
    return {"date": night.date.isoformat(), "protocol": protocol, "ties": [*split.TIES]} | data | code
