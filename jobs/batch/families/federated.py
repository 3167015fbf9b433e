"""The devices' global model, fused with the night's ALS by measured precision (udfs/factors/fusion.py).

It is made from the night's `als`, Kafka's `global_model`, `rounds` and `aggregates`, and the item ids that the nodes
were given. Items that the global model does not know keep the night's factors. Devices learn from events that nobody
here knows: the gate passes the model only if their last round ended before what is held out.

Once it is published, `headrace federated coordinator --initial` begins the next model from its item factors.
"""

import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.infra import durable, federated_files
from headrace.infra.clients import kafka_topics
from headrace.infra.connections import Section
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Kafka, load
from headrace.infra.versions import model_files
from headrace.jobs.batch.families import als
from headrace.schemas.topics import AGGREGATES, GLOBAL_MODEL, ROUNDS
from headrace.udfs.factors.fusion import fuse
from headrace.udfs.federated import round_arithmetic, rounds
from headrace.udfs.recommenders.contract import Family, TrainingData, TrainingOutcome

BASE = "als"
Record = dict[str, Any]


class Global(NamedTuple):
    """The newest complete version of a global model."""

    version: int
    factors: NDArray[np.float64]  # (m, f)
    nodes: int  # of its largest round
    noise: float  # greatest variance of a number
    until_ms: int  # no device learnt later


class Fusion(Section):
    model: str = ""  # the global model; empty: federated.model


def train(_: TrainingData, settings: Fusion, folder: Path, previous: Path | None) -> TrainingOutcome:
    """Raises HeadraceError without the night's ALS, or without a version of the global model after a round."""
    del previous
    base, whole = folder.parent / BASE, load()
    if not base.is_dir():
        raise HeadraceError(f"federated is made from the night's {BASE}, found none in {base}: train {BASE} first")
    model = settings.model or whole.federated.model
    newest = read(whole.kafka, model)
    items = msgspec.json.decode((federated_files.public() / federated_files.ITEMS).read_bytes(), type=list[str])
    return write(folder, base, newest, items, model)


def read(kafka: Kafka, model: str) -> Global:
    """Returns the newest complete version. Raises HeadraceError if there is none after a round."""
    version, parts = _newest(kafka, model)
    folded = {record["round"]: record for record in _records(kafka, AGGREGATES) if _is_of(record, model)}
    terms = {record["round"]: record for record in _records(kafka, ROUNDS)}
    noise = _noise([(terms[number], folded[number]["nodes"]) for number in sorted(folded)], parts)
    until_ms = max(terms[number]["deadline_ms"] for number in folded)
    return Global(version, _factors(parts), max(record["nodes"] for record in folded.values()), noise, until_ms)


def _newest(kafka: Kafka, model: str) -> tuple[int, list[Record]]:
    """Returns the newest version that has all its parts, and the parts in their order."""
    versions: dict[int, dict[int, Record]] = {}  # by version and part
    for record in _records(kafka, GLOBAL_MODEL):
        if record["model"] == model:
            versions.setdefault(record["version"], {})[record["part"]] = record
    complete = [version for version, parts in versions.items() if len(parts) == parts[min(parts)]["parts"]]
    if not complete or max(complete) == 0:
        raise HeadraceError(f"global model {model!r} must have a version after a round, got {complete or 'none'}")
    version = max(complete)
    return version, [versions[version][number] for number in range(len(versions[version]))]


def _factors(parts: list[Record]) -> NDArray[np.float64]:
    ((_, _, shape),) = msgspec.json.decode(parts[0]["layers"], type=list[tuple[str, str, list[int]]])
    numbers = np.concatenate([np.frombuffer(b64decode(part["parameters"]), "<f4") for part in parts])
    factors: NDArray[np.float64] = numbers.astype(np.float64).reshape(shape)
    return factors


def _records(kafka: Kafka, name: str) -> list[Record]:
    return [msgspec.json.decode(record.value) for record in kafka_topics.records(kafka, name) if record.value]


def _is_of(record: Record, model: str) -> bool:
    return bool(record["model"] == model and record["status"] == "opened")


def _noise(folded: list[tuple[Record, int]], newest: list[Record]) -> float:
    """Returns the variance that the noise of the rounds left in a number of the model, by the rule of the last round.

    folded: the terms of each round, and how many nodes it summed.
    """
    variances = [term["node_sigma"] ** 2 / (nodes * term["scale"] ** 2) for term, nodes in folded]
    last = folded[-1][0]
    _, second = rounds.join([part["moments"] for part in newest], "<f8", 2)
    return round_arithmetic.model_noise(variances, second, rounds.rule(last["rule"], last.get("rate")))


def write(folder: Path, base: Path, found: Global, items: list[str], model: str) -> TrainingOutcome:
    """Writes the fused factors. Raises HeadraceError if the two models do not fit each other."""
    names, about = model_files.items(base), model_files.description(base)
    Y = np.load(base / model_files.FACTORS).astype(np.float64)
    if found.factors.shape != (len(items), Y.shape[1]):
        raise HeadraceError(f"global model must be {(len(items), Y.shape[1])}, got {found.factors.shape}")
    place = {name: row for row, name in enumerate(items)}
    shared = [row for row, name in enumerate(names) if name in place]
    if not shared:
        raise HeadraceError(f"{federated_files.ITEMS} must share items with {base / model_files.ITEMS}, shares none")
    theirs = found.factors[[place[names[row]] for row in shared]]
    fused = fuse(Y[shared], theirs, about.dims["users"], found.nodes, found.noise)
    Y[shared] = fused.factors
    durable.save(folder / model_files.FACTORS, Y.astype(np.float32))
    shutil.copyfile(base / model_files.GRAM, folder / model_files.GRAM)
    of_devices = {"model": model, "weight": fused.weight} | {
        name: value for name, value in found._asdict().items() if name != "factors"
    }
    dims = {name: about.dims[name] for name in ("users", "factors")}
    return TrainingOutcome(names, about.parameters, dims, dict(about.lineage) | {"federated": of_devices})


FAMILY = Family(Fusion, train, als.load, als.load)
