"""A small population for tests, and a stand-in for the job's sums that shares none of its code."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray

from edge.federated import provisioning
from edge.federated.layers import Arrays
from edge.federated.node import Node
from infra import federation

MODEL = "m"
LENGTH = 40
LAYERS = '[["a", "float32", [8, 4]], ["b", "float32", [8]]]'


def update_of(number: int, length: int = LENGTH) -> NDArray[np.float64]:
    """What node `number` learns: known to the test alone."""
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

    return Node(name, population, train, federation.node(name))


def plain_add(bodies: list[bytes]) -> bytes:
    """By TenSEAL itself, told the scheme again."""
    context = tenseal.context(tenseal.SCHEME_TYPE.BFV, 4096, plain_modulus=35184372121601, coeff_mod_bit_sizes=[60, 49])
    vectors = [tenseal.bfv_vector_from(context, b"\x0a\x02\x80\x20\x12" + _varint(len(body)) + body) for body in bodies]
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    serialized: bytes = total.serialize()
    return serialized[len(b"\x0a\x02\x80\x20\x12") + len(_varint(len(bodies[0]))) :]


def _varint(number: int) -> bytes:
    out = []
    while number > 127:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def body_of(frame: bytes) -> bytes:
    """By the layout in udfs/frame.py's docstring."""
    node = frame[36]
    return frame[41 + node : -32]


def sums(round_: dict[str, Any], frames: dict[str, list[bytes]], cohort: list[str], **other: Any) -> list[dict[str, Any]]:
    """What the job would say of a cohort."""
    common = {"round": round_["round"], "attempt": 0, "bucket": 0, "buckets": 1, "chunks": round_["chunks"], "nodes": cohort}
    return [
        common | other | {"chunk": n, "ciphertext": b64encode(plain_add([body_of(frames[node][n]) for node in cohort])).decode()}
        for n in range(round_["chunks"])
    ]


def home(monkeypatch: Any, folder: Path) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(folder))
