"""The global federated model and the night's ALS, fused by measured precision -> a candidate for the night's gate.

source     the night's step `als`; Kafka `global_model`, `rounds`, `aggregates`; the item ids that the nodes were given
transform  headrace.udfs.factors.fusion
sink       the night's step `federated`: a trained model with the same files as the step `als`

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
from headrace.udfs.federated import round_arithmetic, rounds

STEP, BASE = "federated", "als"
FACTORS, ITEMS, MODEL = "item_factors.npy", "items.json", "model.json"
Record = dict[str, Any]


class Global(NamedTuple):
    """The newest complete version of a global model."""

    version: int
    factors: NDArray[np.float64]  # (m, f)
    nodes: int  # of its largest round
    noise: float  # greatest variance of a number


def main(options: argparse.Namespace) -> None:
    tonight = night.of(options)
    if tonight.is_left(STEP):
        return
    base = tonight.result(BASE)
    settings = load()
    model = options.model or settings.federated.model
    newest = read(settings.kafka, model)
    items = msgspec.json.decode((federated_files.public() / federated_files.ITEMS).read_bytes(), type=list[str])
    with tonight.writing(STEP) as folder:
        weight = write(folder, base, newest, items, model)
    print(f"{STEP} of {tonight.date}: version {newest.version} of {model} weighs {weight:.2f}")


def read(kafka: Kafka, model: str) -> Global:
    """Returns the newest complete version. Raises HeadraceError if there is none after a round."""
    version, parts = _newest(kafka, model)
    folded = {record["round"]: record for record in _records(kafka, AGGREGATES) if _is_of(record, model)}
    terms = {record["round"]: record for record in _records(kafka, ROUNDS)}
    noise = _noise([(terms[number], folded[number]["nodes"]) for number in sorted(folded)], parts)
    return Global(version, _factors(parts), max(record["nodes"] for record in folded.values()), noise)


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


def write(folder: Path, base: Path, found: Global, items: list[str], model: str) -> float:
    """Writes the fused model and returns the global model's weight. Raises HeadraceError if the two do not fit."""
    names = msgspec.json.decode((base / ITEMS).read_bytes(), type=list[str])
    factors = np.load(base / FACTORS).astype(np.float64)
    if found.factors.shape != (len(items), factors.shape[1]):
        raise HeadraceError(f"global model must be {(len(items), factors.shape[1])}, got {found.factors.shape}")
    place = {name: row for row, name in enumerate(items)}
    shared = [row for row, name in enumerate(names) if name in place]
    if not shared:
        raise HeadraceError(f"{federated_files.ITEMS} must share items with {base / ITEMS}, shares none")
    described = msgspec.json.decode((base / MODEL).read_bytes())
    theirs = found.factors[[place[names[row]] for row in shared]]
    fused = fuse(factors[shared], theirs, described["dims"]["users"], found.nodes, found.noise)
    factors[shared] = fused.factors
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
