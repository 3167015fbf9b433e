"""`headrace federated simulate`: a population on one machine, through the real Kafka, job and key holder.

The key holder is a process of its own, as it must be. The coordinator runs here, and so do all nodes, one after
another. Each node has a few made-up users, who like the items of one of four tastes.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headrace.edge.federated import coordinator, flower, node, provisioning
from headrace.edge.federated.coordinator import RoundsWish
from headrace.edge.federated.layers import Arrays
from headrace.edge.federated.provisioning import Population
from headrace.infra import durable, federated_files, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.udfs.factors import als

MODEL = "simulated_items"
APP = "headrace.edge.federated.factorisation:app"
TASTES, USERS, LIKED = 4, 3, 12  # kinds of users; users of a node; items that each has liked


class Size(NamedTuple):
    nodes: int
    rounds: int
    items: int
    factors: int


def run(settings: Settings, size: Size, k: int, epsilon: float, delta: float, console: Console) -> None:
    kafka, terms = settings.kafka, settings.federated
    population = _population(size.nodes, k, epsilon, delta)
    items = [f"item-{n:05d}" for n in range(size.items)]
    durable.write(federated_files.public() / federated_files.ITEMS, msgspec.json.encode(items))
    start = als.initial(size.items, size.factors, np.random.default_rng(1))
    layers = msgspec.json.encode([("item_factors", "float32", start.shape)]).decode()
    model = f"{MODEL}_{population.name.removeprefix('simulation-')}"
    wish = RoundsWish(model, size.rounds, terms.clip, k, terms.rule, terms.rate, deadline_ms=600_000, epsilon=epsilon)
    with key_holder():
        nodes = node.RunningNodes(kafka, [_node(name, n, population, items) for n, name in enumerate(population.nodes)])
        initial = coordinator.first_version(model, start.ravel(), layers)
        running = coordinator.RunningCoordinator(kafka, wish, population, initial)
        try:
            _watch(running, nodes, population, console)
        finally:
            nodes.close()
            running.close()


def _watch(
    running: coordinator.RunningCoordinator, nodes: node.RunningNodes, population: Population, console: Console
) -> None:
    """Runs until all rounds are over, and shows their progress and the spent budget."""
    wish, log = running.coordinator.wish, running.coordinator.rounds
    columns = TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        rounds_bar = progress.add_task("rounds that are over", total=wish.rounds)
        nodes_bar = progress.add_task("nodes in this round", total=len(population.nodes))
        spent_bar = progress.add_task("epsilon spent, of", total=population.epsilon)
        over = 0
        while not running.coordinator.is_done():
            running.step()
            nodes.step()
            round_ = log.current(wish.model)
            if log.over(wish.model) > over:
                over = log.over(wish.model)
                progress.console.print(
                    f"round {over} of {wish.rounds}: epsilon {log.epsilon:.2f} of {population.epsilon:g}"
                )
            progress.update(rounds_bar, completed=log.over(wish.model))
            progress.update(nodes_bar, completed=len(log.receipts[round_["round"]]) if round_ else 0)
            progress.update(spent_bar, completed=round(log.epsilon, 2))
    reasons = [record["reason"] for record in log.rounds.values() if record["model"] == wish.model and record["reason"]]
    console.print(f"{log.over(wish.model)} rounds; epsilon {log.epsilon:.2f} of {population.epsilon:g} is spent")
    for reason in reasons:
        console.print(f"a round was aborted: {reason}")


def _population(nodes: int, k: int, epsilon: float, delta: float) -> Population:
    """A new population for each simulation, with a budget of its own. It removes the one before.

    Raises HeadraceError if the home holds a population that no simulation made.
    """
    before = federated_files.holder() / provisioning.POPULATION
    if federated_files.root().exists():
        if not (before.is_file() and provisioning.read(federated_files.holder()).name.startswith("simulation-")):
            raise HeadraceError(f"{federated_files.root()} is not of a simulation: simulate with another HEADRACE_HOME")
        shutil.rmtree(federated_files.root())
    return provisioning.provision(nodes, f"simulation-{int(time.time())}", k, epsilon, delta)


def _node(name: str, number: int, population: Population, items: list[str]) -> node.Node:
    folder = federated_files.node(name)
    data = folder / "data.csv"
    data.write_text(
        "user_id,item_id\n" + "".join(f"{user},{items[item]}\n" for user, item in likes(number, len(items)))
    )
    settings: dict[str, flower.Setting] = {
        "data": str(data),
        "items": str(federated_files.public() / federated_files.ITEMS),
        "partition-id": number,
    }
    trainer = flower.load(APP, Path(), settings, {})

    def train(arrays: Arrays, round_: int) -> Arrays:
        return flower.train(trainer, arrays, round_, {})

    return node.Node(name, population, train, folder)


def likes(number: int, items: int) -> Iterator[tuple[str, int]]:
    """Yields (user, index of an item that the user likes) for the users of node `number`."""
    rng = np.random.default_rng(number)
    for user in range(USERS):
        taste = int(rng.integers(TASTES))
        liked: NDArray[np.int64] = np.arange(taste, items, TASTES)
        for item in rng.choice(liked, min(LIKED, len(liked)), replace=False).tolist():
            yield f"{number}-{user}", item


@contextmanager
def key_holder() -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a key holder in a process of its own while the block lasts."""
    log = paths.logs() / "key-holder.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "federated", "key-holder"],
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
