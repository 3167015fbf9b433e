"""A small population for tests, and a stand-in for the job's sums that shares none of its code."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.edge.federated import provisioning
from headrace.edge.federated.layers import Arrays
from headrace.edge.federated.node import Node
from headrace.infra import federated_files

MODEL = "m"
LENGTH = 40
LAYERS = '[["a", "float32", [8, 4]], ["b", "float32", [8]]]'


def update_of(number: int, length: int = LENGTH) -> NDArray[np.float64]:
    """Returns what node `number` learns, which the test alone knows."""
    return np.random.default_rng(number).standard_normal(length) / 10


def nodes(population: provisioning.Population) -> list[Node]:
    return [made(name, n, population) for n, name in enumerate(population.nodes)]


def made(name: str, number: int, population: provisioning.Population) -> Node:
    def train(arrays: Arrays, round_: int) -> Arrays:
        rest = update_of(number, sum(array.size for array in arrays.values()))
        trained = {}
        for layer, array in arrays.items():
            trained[layer] = array + rest[: array.size].reshape(array.shape)
            rest = rest[array.size :]
        return trained

    return Node(name, population, train, federated_files.node(name))


def plain_add(bodies: list[bytes]) -> bytes:
    """Adds coefficients modulo q as unlimited integers; q is the greatest prime below 2^60 that is 1 modulo 8192."""
    q = 2**60 - 2**14 + 1
    total = sum(np.frombuffer(body, "<u8").astype(object) for body in bodies) % q
    return np.asarray(total, "<u8").tobytes()


def body_of(frame: bytes) -> bytes:
    """Returns a frame's body by the layout in udfs/federated/frame.py's docstring."""
    node = frame[36]
    return frame[41 + node : -32]


def sums(
    round_: dict[str, Any], frames: dict[str, list[bytes]], cohort: list[str], **other: Any
) -> list[dict[str, Any]]:
    """Returns the sums that the job would send of a cohort."""
    common = {
        "round": round_["round"],
        "attempt": 0,
        "bucket": 0,
        "buckets": 1,
        "chunks": round_["chunks"],
        "nodes": cohort,
    }
    return [
        common
        | other
        | {"chunk": n, "ciphertext": b64encode(plain_add([body_of(frames[node][n]) for node in cohort])).decode()}
        for n in range(round_["chunks"])
    ]


def home(monkeypatch: Any, folder: Path) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(folder))
