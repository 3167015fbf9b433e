"""A version as a model of MLflow, which loads from the version's folder: nothing is copied.

    model = mlflow.pyfunc.load_model("models:/headrace/1")
    model.predict(events, params={"k": 20})

events: user_id, item_id, action, rating (may be missing or NaN), t_ms, in any order. The answer has a row for each
user: user_id, items (best first), scores, and known: whether the model knows anything of them; else the popular items.
It is the model's own ranking; `precompute` also keeps categories and likenesses apart.
"""

from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.versions import model_files, store
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders import contract

PLACE, POINTER = "model", "version.json"
K = 20


def write(draft: Path, folder: Path, run_id: str) -> None:
    """Writes the files of MLflow's model. folder: of the version."""
    from mlflow import pyfunc
    from mlflow.models import Model

    model = Model(artifact_path=PLACE, run_id=run_id, signature=_signature())
    pyfunc.add_to_model(model, loader_module=__name__, data=POINTER)
    durable.write(draft / POINTER, msgspec.json.encode({"folder": str(folder.resolve())}))
    durable.write(draft / "requirements.txt", f"headrace=={metadata.version('headrace')}\n".encode())
    model.save(str(draft / "MLmodel"))


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    text, number, whole = DataType.string, DataType.double, DataType.long
    events = [ColSpec(text, name) for name in ("user_id", "item_id", "action")]
    events += [ColSpec(number, "rating", required=False), ColSpec(whole, "t_ms")]
    lists = [ColSpec(text, "user_id"), ColSpec(Array(text), "items"), ColSpec(Array(number), "scores")]
    lists.append(ColSpec(DataType.boolean, "known"))
    return ModelSignature(Schema(events), Schema(lists), ParamSchema([ParamSpec("k", whole, K)]))


def _load_pyfunc(path: str) -> "VersionModel":
    """MLflow's name of what opens a model. path: of the file that points to the version."""
    return VersionModel(Path(msgspec.json.decode(Path(path).read_bytes())["folder"]))


class VersionModel:
    """A version that answers frames of events."""

    def __init__(self, folder: Path) -> None:
        """Raises HeadraceError if the version is gone, or does not load."""
        from headrace.jobs.batch.families import roster

        if not folder.is_dir():
            raise HeadraceError(f"{folder} must be the folder of a version, which is gone")
        self.recommender = roster.load(folder)
        self.strength = model_files.description(folder).strength
        self.items = np.array([*self.recommender.items, ""], object)  # the last is that of NONE
        self.places = {item: place for place, item in enumerate(self.recommender.items)}
        self.popular = [item for item, _ in model_files.popular(folder)]
        left_out = folder / store.LEFT_OUT
        absent = set(model_files.read(left_out, list[str])) if left_out.is_file() else set()
        self.allowed = np.array([place for item, place in self.places.items() if item not in absent], np.int64)

    def predict(self, events: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Returns a row for each user of the events, by user_id."""
        from headrace.jobs.batch.training import model_folder

        k = int((params or {}).get("k", K))
        rows = events.assign(rating=events.get("rating", np.nan))
        rows = rows.sort_values(["user_id", "t_ms"], kind="stable")
        users = rows["user_id"].unique()
        seen = contract.past(model_folder.events(rows, self.places), len(users), len(self.places), *self.strength)
        lists = self.recommender.lists(seen, k, self.allowed)
        found = [row[row != NONE] for row in lists.items]
        names = [
            list(self.items[row]) if known else self.popular[:k] for row, known in zip(found, lists.known, strict=True)
        ]
        scores = [row[np.isfinite(row)].tolist() for row in lists.scores]
        return pd.DataFrame({"user_id": users, "items": names, "scores": scores, "known": lists.known})
