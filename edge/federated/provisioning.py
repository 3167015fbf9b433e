"""Keys and ids for a population of nodes. Whoever sets it up makes them once, then hands them to their owners.

Each node shares one key with Flink, which authenticates its frames. It shares another with the key holder, who checks
by it whose updates a sum holds. To provision again adds nodes and changes no earlier one.
"""

import math
import secrets
from typing import Any

import msgspec

from headrace.edge.federated import bfv
from headrace.infra import durable, federated_files
from headrace.infra.errors import HeadraceError
from headrace.udfs.federated.accountant import Budget

KEY_BYTES = 32
POPULATION = "population.json"


class Population(msgspec.Struct, frozen=True):
    """What everybody may know. The key holder and each node keep copies of their own, and trust these alone."""

    name: str
    nodes: list[str]
    k: int  # no sum of fewer nodes is opened
    epsilon: float | None  # the whole budget; None: no bound, so that rounds without noise are opened too
    delta: float
    key_id: str  # of the newest public key

    def budget(self) -> Budget:
        return Budget(math.inf if self.epsilon is None else self.epsilon, self.delta)


def read(folder: Any) -> Population:
    """The population in a folder. Raises HeadraceError if there is none."""
    path = folder / POPULATION
    if not path.is_file():
        raise HeadraceError(f"no population in {path}: `headrace federated provision N` makes one")
    return msgspec.json.decode(path.read_bytes(), type=Population)


def provision(count: int, name: str, k: int, epsilon: float, delta: float) -> Population:
    """Makes the keys of a population of `count` nodes in all, and writes them to the folders of their owners.

    Raises HeadraceError unless 2 <= k <= count, epsilon > 0 and 0 < delta < 1.
    """
    if not 2 <= k <= count:
        raise HeadraceError(f"k must be from 2 to the {count} nodes, got {k}")
    if not (epsilon > 0 and 0 < delta < 1):
        raise HeadraceError(f"epsilon must be > 0 and delta between 0 and 1, got {epsilon} and {delta}")
    nodes = [f"node-{number:05d}" for number in range(1, count + 1)]
    keys = {node: _keys(node) for node in nodes}
    _write(federated_files.aggregator() / federated_files.MACS, {node: each["mac"] for node, each in keys.items()})
    _write(federated_files.holder() / federated_files.TAGS, {node: each["tag"] for node, each in keys.items()})
    before = federated_files.holder() / POPULATION
    key_id = read(federated_files.holder()).key_id if before.is_file() else _new_key()
    population = Population(name, nodes, k, epsilon if math.isfinite(epsilon) else None, delta, key_id)
    _announce(population)
    return population


def _keys(node: str) -> dict[str, str]:
    path = federated_files.node(node) / federated_files.SECRET
    if not path.is_file():
        _write(path, {"mac": secrets.token_hex(KEY_BYTES), "tag": secrets.token_hex(KEY_BYTES)})
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str])


def rotate() -> str:
    """Makes a new pair of keys for future rounds, and returns its id. The pair before stays for the open round."""
    population = read(federated_files.holder())
    for path in federated_files.holder().glob("*.secret"):
        if path.stem != population.key_id:
            path.unlink()
    new = msgspec.structs.replace(population, key_id=_new_key())
    _announce(new)
    return new.key_id


def _new_key() -> str:
    public, secret = bfv.generate()
    key_id = bfv.key_id(public).hex()
    federated_files.write_secret(federated_files.holder() / f"{key_id}.secret", secret)
    federated_files.public().mkdir(parents=True, exist_ok=True)
    durable.write(federated_files.public_key(key_id), public)
    return key_id


def _announce(population: Population) -> None:
    content = msgspec.json.format(msgspec.json.encode(population))
    for folder in (federated_files.public(), federated_files.holder()):
        durable.write(folder / POPULATION, content)


def _write(path: Any, keys: dict[str, str]) -> None:
    federated_files.write_secret(path, msgspec.json.encode(keys))
