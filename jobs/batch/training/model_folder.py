"""A trained model as a step's folder holds it, and the one way to ask it: docs/night.md, "A trained model".

    items.json         item ids in code point order
    item_factors.npy   (m, f) float32
    user_gram.npy      (f, f), X'X: a new item is folded in with it
    popular.json       [item id, users], best first
    towers.pt          of two_tower: the towers, and each item's content
    model.json         `Trained`

A model answers for histories: it makes a user's vector from their events, so a new user has one. A score is the product
of the vector and an item's factors.
"""

import platform
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from headrace.infra import durable, extensions
from headrace.infra.errors import HeadraceError
from headrace.infra.versions import store
from headrace.infra.versions.store import Contents
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import split
from headrace.jobs.batch.training.scorer import Scorer
from headrace.schemas import redis_keys
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int, Objective
from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, UNKNOWN, Events, histories, user_features

T = TypeVar("T")
MODEL, TOWERS = "model.json", "towers.pt"
COLUMNS = ("user_id", "item_id", "action", "rating", "t_ms")  # of the lake, which every model is made from
PACKAGES = ("pyspark", "numpy", "pandas", "pyarrow", "torch")


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    kind: str  # the step that made it
    dims: dict[str, int]  # items, factors, users
    parameters: dict[str, Any]  # objective, half_life_ms, rating_max, history, and those of the training
    lineage: dict[str, Any]  # date, protocol, events, digest, offsets, commit, python, packages, warm_start
    seconds: float

    @property
    def objective(self) -> Objective:
        return Objective(**self.parameters["objective"])


class AlsScorer:
    """Answers for `als`, and for `federated`, which is made from it. It folds users in by the solve of the stream."""

    def __init__(self, folder: Path, items: list[str], item_factors: als.Real, trained: Trained) -> None:
        self.items, self.item_factors, self._parameters = items, item_factors, trained.parameters
        self._objective, self._basis = trained.objective, als.basis(item_factors)

    def user_vectors(self, events: Events, users: int) -> Float:
        half_life_ms, rating_max = self._parameters["half_life_ms"], self._parameters["rating_max"]
        history = histories(events, users, len(self.items), half_life_ms, rating_max)
        return als.solve(self._basis, history.rows, self._objective)


class TwoTowerScorer:
    """Answers for `two_tower`. The user tower makes a vector from the items that a user took and their features."""

    def __init__(self, folder: Path, items: list[str], item_factors: als.Real, trained: Trained) -> None:
        import torch  # only this kind of model needs it

        from headrace.jobs.batch.training import towers

        saved = torch.load(folder / TOWERS, weights_only=True)
        self.items, self.item_factors, self._parameters = items, item_factors, trained.parameters
        self._towers, _ = towers.restored(saved)
        self._taken, self._vectors, self._users = saved["taken"], towers.vectors, towers.users

    def user_vectors(self, events: Events, users: int) -> Float:
        half_life_ms, rating_max = self._parameters["half_life_ms"], self._parameters["rating_max"]
        rows = histories(events, users, len(self.items), half_life_ms, rating_max).rows
        shoppers = self._users(rows, user_features(events, users), self._towers.shape)
        return np.asarray(self._vectors(self._towers, self._taken, shoppers))


def of(night: Night) -> dict[str, Path]:
    """Returns the folders of the night's models, by the step that made each. Raises HeadraceError if there is none."""
    folders = sorted(path.parent for path in night.folder.glob(f"[!.]*/{MODEL}"))
    return {folder.name: folder for folder in folders or [night.result("als")]}


def load(folder: Path) -> Scorer:
    trained, items = description(folder), item_ids(folder)
    factors = np.load(folder / store.FACTORS)
    if factors.shape != (len(items), trained.dims["factors"]):
        expected = (len(items), trained.dims["factors"])
        raise HeadraceError(f"{folder / store.FACTORS} must be {expected}, got {factors.shape}")
    return _opener(folder, trained.kind)(folder, items, factors, trained)


def streamed(folder: Path) -> Scorer:
    """Returns the scorer by which the stream serves the model, whatever its kind: least squares against its items."""
    return AlsScorer(folder, item_ids(folder), np.load(folder / store.FACTORS), description(folder))


Opener = Callable[[Path, list[str], als.Real, Trained], Scorer]
SCORERS: dict[str, Opener] = {"als": AlsScorer, "federated": AlsScorer, "two_tower": TwoTowerScorer}  # by Trained.kind


def _opener(folder: Path, kind: str) -> Opener:
    if extensions.is_reference(kind):
        return cast(Opener, extensions.resolve(f"{folder / MODEL}: kind", kind))
    if kind not in SCORERS:
        raise HeadraceError(f"{folder / MODEL}: kind must be one of {', '.join(SCORERS)} or module:NAME, got {kind!r}")
    return SCORERS[kind]


def description(folder: Path) -> Trained:
    return _read(folder / MODEL, Trained)


def contents(folder: Path) -> Contents:
    """Returns what headrace.infra.versions.store keeps of the model."""
    factors, gram = np.load(folder / store.FACTORS), np.load(folder / store.GRAM)
    return Contents(factors, gram, item_ids(folder), _read(folder / store.POPULAR, list[tuple[str, int]]))


def item_ids(folder: Path) -> list[str]:
    return _read(folder / store.ITEMS, list[str])


def write(folder: Path, contents: Contents, trained: Trained) -> None:
    durable.save(folder / store.FACTORS, contents.item_factors)
    durable.save(folder / store.GRAM, contents.user_gram)
    durable.write(folder / store.ITEMS, msgspec.json.encode(contents.items))
    durable.write(folder / store.POPULAR, msgspec.json.encode(contents.popular))
    durable.write(folder / MODEL, msgspec.json.format(msgspec.json.encode(trained)))


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


def lineage(night: Night, protocol: str, trained_on: DataFrame) -> dict[str, Any]:
    """Returns what a training was made of. trained_on: exactly the events that it reads."""
    landed = night.folder / "land" / "landed.json"
    offsets = msgspec.json.decode(landed.read_bytes())["topics"] if landed.exists() else {}
    packages = {name: metadata.version(name) for name in PACKAGES}
    data = {"events": trained_on.count(), "digest": split.digest(trained_on), "offsets": offsets}
    code = {"commit": store.commit(), "python": platform.python_version(), "packages": packages}
    return {"date": night.date.isoformat(), "protocol": protocol, "ties": [*split.TIES]} | data | code


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise HeadraceError(f"{path} must be a file of a trained model: {error}") from None
