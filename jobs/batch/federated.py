"""The global federated model and the night's ALS, fused by measured precision -> a candidate for the night's gate.

source     the night's step `als`; Kafka `global_model`, `rounds`, `aggregates`; the items that the population was given
transform  headrace.udfs.factors.fusion
sink       the night's step `federated`: a trained model, laid out as the step `als` lays out its own

Items that the federated model does not know keep the night's factors. The gate judges it like any other model; once it
is published, `headrace federated coordinator --initial` begins the next model from its item factors.

Run: headrace run federated --date D --model NAME
"""

import argparse
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.infra import durable, federated_files
from headrace.infra.clients import kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Kafka, load
from headrace.jobs.batch import night
from headrace.schemas.topics import AGGREGATES, GLOBAL_MODEL, ROUNDS
from headrace.udfs.factors.fusion import fuse
from headrace.udfs.federated import rounds, update

STEP, BASE = "federated", "als"
FACTORS, ITEMS, MODEL = "item_factors.npy", "items.json", "model.json"
Record = dict[str, Any]


class Global(NamedTuple):
    """The newest complete version of a global model."""

    version: int
    factors: NDArray[np.float64]  # (m, f)
    nodes: int  # behind it, of the largest round
    noise: float  # variance of each number, at most


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    base = tonight.result(BASE)
    settings = load()
    model = options.model or settings.federated.model
    found = read(settings.kafka, model)
    items = msgspec.json.decode((federated_files.public() / federated_files.ITEMS).read_bytes(), type=list[str])
    with tonight.writing(STEP) as folder:
        weight = write(folder, base, found, items, model)
    print(f"{STEP} of {tonight.date}: version {found.version} of {model} weighs {weight:.2f}")


def read(kafka: Kafka, model: str) -> Global:
    parts: dict[int, dict[int, Record]] = {}
    for record in _records(kafka, GLOBAL_MODEL):
        if record["model"] == model:
            parts.setdefault(record["version"], {})[record["part"]] = record
    complete = [version for version, found in parts.items() if len(found) == found[min(found)]["parts"]]
    if not complete or max(complete) == 0:
        raise HeadraceError(f"global model {model!r} must have a version after a round, got {complete or 'none'}")
    version = max(complete)
    newest = [parts[version][n] for n in range(len(parts[version]))]
    ((_, _, shape),) = msgspec.json.decode(newest[0]["layers"], type=list[tuple[str, str, list[int]]])
    vector = np.concatenate([np.frombuffer(b64decode(part["parameters"]), "<f4") for part in newest]).astype(np.float64)
    folded = {record["round"]: record for record in _records(kafka, AGGREGATES) if _is_of(record, model)}
    terms = {record["round"]: record for record in _records(kafka, ROUNDS)}
    noise = _noise([(terms[number], folded[number]["nodes"]) for number in sorted(folded)], newest)
    return Global(version, vector.reshape(shape), max(record["nodes"] for record in folded.values()), noise)


def _records(kafka: Kafka, name: str) -> list[Record]:
    return [msgspec.json.decode(record.value) for record in kafka_topics.records(kafka, name) if record.value]


def _is_of(record: Record, model: str) -> bool:
    return bool(record["model"] == model and record["status"] == "opened")


def _noise(folded: list[tuple[Record, int]], newest: list[Record]) -> float:
    """What the noise of rounds of so many nodes left in a number of the model, by the last one's rule."""
    variances = [term["node_sigma"] ** 2 / (nodes * term["scale"] ** 2) for term, nodes in folded]
    last = folded[-1][0]
    _, second = rounds.join([part["moments"] for part in newest], "<f8", 2)
    return update.model_noise(variances, second, rounds.rule(last["rule"], last.get("rate")))


def write(folder: Path, base: Path, found: Global, items: list[str], model: str) -> float:
    """The weight of the global model."""
    names = msgspec.json.decode((base / ITEMS).read_bytes(), type=list[str])
    factors = np.load(base / FACTORS).astype(np.float64)
    if found.factors.shape != (len(items), factors.shape[1]):
        raise HeadraceError(f"global model must be {(len(items), factors.shape[1])}, got {found.factors.shape}")
    place = {name: row for row, name in enumerate(items)}
    known = [row for row, name in enumerate(names) if name in place]
    if not known:
        raise HeadraceError(f"{federated_files.ITEMS} must share items with {base / ITEMS}, shares none")
    described = msgspec.json.decode((base / MODEL).read_bytes())
    theirs = found.factors[[place[names[row]] for row in known]]
    fused = fuse(factors[known], theirs, described["dims"]["users"], found.nodes, found.noise)
    factors[known] = fused.factors
    shutil.copytree(base, folder, dirs_exist_ok=True)
    durable.save(folder / FACTORS, factors.astype(np.float32))
    lineage = {
        "model": model,
        "version": found.version,
        "nodes": found.nodes,
        "noise": found.noise,
        "weight": fused.weight,
    }
    described |= {"kind": STEP, "lineage": described["lineage"] | {STEP: lineage}}
    (folder / MODEL).write_bytes(msgspec.json.format(msgspec.json.encode(described)))
    return fused.weight


def arguments() -> argparse.ArgumentParser:
    parser = night.arguments(__doc__)
    parser.add_argument("--model", help="the global model's name (federated.model)", metavar="NAME")
    return parser


if __name__ == "__main__":
    night.run(main, arguments())
