"""One round of training by any Flower ClientApp, in this process, without a server or a SuperNode.

It runs both kinds of apps: those with functions of messages (`@app.train()`, arrays under "arrays", settings under
"config"), and those around a `client_fn` (NumPyClient, Client), which get the records of Flower's own server.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.common import FitIns, ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import fitins_to_recorddict
from flwr.supercore.object_ref import load_app

from headrace.edge.federated.layers import Arrays
from headrace.infra.errors import HeadraceError

Setting = str | int | float | bool


class Trainer(NamedTuple):
    app: ClientApp
    context: Context


def load(
    reference: str, folder: Path, node_config: Mapping[str, Setting], run_config: Mapping[str, Setting]
) -> Trainer:
    """Loads an app. reference: module:attribute, as in a Flower project's pyproject.toml; it may be in `folder`.

    Raises HeadraceError if it is no ClientApp.
    """
    app = load_app(reference, HeadraceError, str(folder))
    if not isinstance(app, ClientApp):
        raise HeadraceError(f"{reference} must be a Flower ClientApp, got {type(app).__name__}")
    node_id = int(node_config.get("partition-id", 0)) + 1
    return Trainer(app, Context(1, node_id, dict(node_config), RecordDict(), dict(run_config)))


def train(trainer: Trainer, arrays: Arrays, number: int, settings: Mapping[str, Setting]) -> Arrays:
    """Trains the app on its data from these arrays, and returns the arrays afterwards.

    Raises HeadraceError if the app fails or answers with other shapes.
    """
    config = {"server-round": number, "server_round": number, **settings}
    content = _for_client_fn(arrays, config) if _has_client_fn(trainer.app) else _for_functions(arrays, config)
    reply = trainer.app(Message(content=content, metadata=_instruction(trainer.context)), trainer.context)
    if reply.has_error():
        raise HeadraceError(f"the ClientApp failed: {reply.error.reason}")
    trained = [array.numpy() for array in next(iter(reply.content.array_records.values())).values()]
    shapes = [array.shape for array in trained], [array.shape for array in arrays.values()]
    if shapes[0] != shapes[1]:
        raise HeadraceError(f"the ClientApp must answer with arrays of shapes {shapes[1]}, got {shapes[0]}")
    return dict(zip(arrays, trained, strict=True))


def _instruction(context: Context) -> Metadata:
    """The metadata that a SuperLink would give a training message."""
    now_s, lifetime_s = time.time(), 3600.0
    return Metadata(context.run_id, "", 1, context.node_id, "", "", now_s, lifetime_s, "train")


def _has_client_fn(app: ClientApp) -> bool:
    return app._call is not None  # Flower decides by this too, and has no public name for it


def _for_functions(arrays: Arrays, config: dict[str, Setting]) -> RecordDict:
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return RecordDict({"arrays": record, "config": ConfigRecord(dict(config))})


def _for_client_fn(arrays: Arrays, config: dict[str, Setting]) -> RecordDict:
    return fitins_to_recorddict(FitIns(ndarrays_to_parameters(list(arrays.values())), dict(config)), keep_input=True)
