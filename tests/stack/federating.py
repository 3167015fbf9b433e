"""A population on the real stack: its processes, the frames of its nodes, and what each party wrote."""

import contextlib
import json
import signal
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.edge.federated import coordinator, node, provisioning
from headrace.edge.federated.channel import Told
from headrace.edge.federated.coordinator import RoundsWish
from headrace.edge.federated.layers import Arrays
from headrace.edge.federated.provisioning import Population
from headrace.infra import federated_files, paths
from headrace.infra.settings import Kafka
from headrace.schemas import topics
from tests import topic
from tests.edge.federated.federation import update_of
from tests.stack.running import HEADRACE, Stack, wait

JOB = "federated"
MODEL = "m"
Record = dict[str, Any]


class Recording(node.Node):
    """A node that keeps on disk, for the test alone, the integers that it encrypts."""

    def protected(self, round_: Record, update: NDArray[np.float64]) -> NDArray[np.int64]:
        values = super().protected(round_, update)
        np.save(plain(self.name, round_["round"]), values)
        return values


def plain(name: str, number: int) -> Path:
    folder = paths.home() / "plain"
    folder.mkdir(exist_ok=True)
    return folder / f"{name}-{number}.npy"


def nodes(population: Population, only: slice = slice(None)) -> list[node.Node]:
    return [recording(name, n, population) for n, name in list(enumerate(population.nodes))[only]]


def recording(name: str, number: int, population: Population) -> node.Node:
    def train(arrays: Arrays, round_: int) -> Arrays:
        sizes = np.cumsum([array.size for array in arrays.values()])
        pieces = np.split(update_of(number, int(sizes[-1])), sizes[:-1])
        return {
            name: array + piece.reshape(array.shape)
            for (name, array), piece in zip(arrays.items(), pieces, strict=True)
        }

    return Recording(name, population, train, federated_files.node(name))


def version_0(length: int) -> list[Told]:
    rows = length // 4
    layers = json.dumps([["a", "float32", [rows, 3]], ["b", "float32", [length - 3 * rows]]])
    return coordinator.first_version(MODEL, np.zeros(length, np.float32), layers)


def records(kafka: Kafka, name: str) -> list[Record]:
    return [json.loads(record.value) for record in topic.read(kafka, name)]


def opened(kafka: Kafka, number: int) -> list[Record]:
    """Returns the parts of a round's aggregate, in order; each must be there once."""
    found = [record for record in records(kafka, topics.AGGREGATES) if record["round"] == number]
    found = sorted(
        (each for each in found if each["status"] == "opened"), key=lambda each: (each["bucket"], each["part"])
    )
    assert len({(each["bucket"], each["part"]) for each in found}) == len(found)
    return found


def total(parts: list[Record]) -> NDArray[np.int64]:
    return np.concatenate([np.frombuffer(b64decode(part["values"]), "<i8") for part in parts])


def cohort(kafka: Kafka, number: int) -> list[str]:
    """Returns the cohort of the round's last attempt."""
    found = [record for record in records(kafka, topics.COHORTS) if record["round"] == number]
    last = max(record["attempt"] for record in found)
    return sorted({node for record in found if record["attempt"] == last for node in record["nodes"]})


def plain_sum(names: list[str], number: int) -> NDArray[np.int64]:
    return np.asarray(np.sum([np.load(plain(name, number)) for name in names], axis=0))


def model(kafka: Kafka, version: int) -> NDArray[np.float32]:
    found = {r["part"]: r for r in records(kafka, topics.GLOBAL_MODEL) if r["version"] == version}
    return np.concatenate([np.frombuffer(b64decode(found[n]["parameters"]), "<f4") for n in range(len(found))])


def reasons(kafka: Kafka) -> list[str]:
    return [dict(letter.headers)["reason"].decode() for letter in topic.read(kafka, topics.DEAD_LETTERS)]


def ledger() -> list[Record]:
    return [json.loads(line) for line in (federated_files.holder() / "ledger.jsonl").read_bytes().splitlines()]


@dataclass
class Processes:
    """The processes by name, with their commands, so that a killed one can be started again."""

    stack: Stack
    commands: dict[str, list[str]]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        with (paths.logs() / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(self.commands[name], cwd=paths.PACKAGE, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()


@contextlib.contextmanager
def processes(stack: Stack, **commands: list[str]) -> Iterator[Processes]:
    found = Processes(stack, commands)
    try:
        for name in commands:
            found.start(name)
        yield found
    finally:
        for process in found.running.values():
            process.kill()
            process.wait()


KEY_HOLDER = [str(HEADRACE), "federated", "key-holder"]


@contextlib.contextmanager
def coordinating(
    stack: Stack, wish: RoundsWish, population: Population, length: int
) -> Iterator[coordinator.RunningCoordinator]:
    running = coordinator.RunningCoordinator(stack.settings.kafka, wish, population, version_0(length))
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def sending(stack: Stack, members: list[node.Node]) -> Iterator[node.RunningNodes]:
    running = node.RunningNodes(stack.settings.kafka, members)
    try:
        yield running
    finally:
        running.close()


def until(condition: Callable[[], bool], *steps: Callable[[], Any], timeout_s: float = 90) -> None:
    """Lets the processes work until the condition holds."""

    def stepped() -> bool:
        for step in steps:
            step()
        return condition()

    wait(stepped, timeout_s, lambda: "the round does not go on")


def node_process(numbers: list[int]) -> list[str]:
    return [sys.executable, "-m", "tests.stack.federating", *map(str, numbers)]


def main() -> None:
    """Runs the nodes with these numbers, for ever."""
    from headrace.infra.settings import load

    population = provisioning.read(federated_files.public())
    members = [recording(population.nodes[int(n)], int(n), population) for n in sys.argv[1:]]
    running = node.RunningNodes(load().kafka, members)
    while True:
        running.step()


if __name__ == "__main__":
    main()
