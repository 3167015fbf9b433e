"""Seconds of a federated round, encrypted, against the same round in plaintext.

50 nodes with 100,000 parameters and epsilon 8 over 10 rounds go through Kafka, the job and a key holder. A round lasts
as long as one node's work (nodes work at the same time on their own machines; here it is the mean of the 50), and then
from the first frame to the new model. In plaintext the nodes send what they would have encrypted, in frames of the same
size, and nobody decrypts. Much of both is waiting for three checkpoints: nothing is passed on before it is committed.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaProducer
from numpy.typing import NDArray

from benchmarks import stack
from benchmarks.harness import Result, show_round, table
from headrace.edge.federated import bfv, coordinator, key_holder, provisioning
from headrace.edge.federated.channel import Told, TopicFollower, Writer
from headrace.edge.federated.coordinator import RoundsWish
from headrace.edge.federated.layers import Arrays, flat
from headrace.edge.federated.ledger import Ledger
from headrace.edge.federated.node import Node
from headrace.edge.federated.provisioning import Population
from headrace.infra import federated_files
from headrace.infra.settings import Settings
from headrace.schemas import topics
from headrace.udfs.federated import frame
from headrace.udfs.federated.ciphertext import Q
from headrace.udfs.federated.packing import SLOTS

JOB, NODES, LENGTH = "federated", 50, 100_000
CHECKPOINT_S = 1
EPSILON, DELTA, ROUNDS = 8.0, 1e-5, 10
DEADLINE_MS = 3_600_000  # nodes work one after the other here
TARGET = 2.7
KINDS = ("encrypted", "plaintext")


class Lasted(NamedTuple):
    node_s: float  # of one node
    kept_s: float  # from the first frame to the last receipt
    summed_s: float  # from there to the new model
    sent_bytes: int  # by all nodes

    def round_s(self) -> float:
        return self.node_s + self.kept_s + self.summed_s


class Plain:
    """In the place of both classes of headrace.edge.federated.bfv: slots as they are, where the first polynomial would
    be.
    """

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt(self, slots: NDArray[np.int64]) -> bytes:
        return (slots % Q).astype("<u8").tobytes() + bytes(8 * SLOTS)

    def decrypt(self, body: bytes) -> NDArray[np.int64]:
        slots = np.frombuffer(body, "<u8")[:SLOTS].astype(np.int64)
        return np.where(slots > Q // 2, slots - Q, slots)


def main(rounds: int) -> Result:
    os.environ["HEADRACE_FLINK__CHECKPOINT_INTERVAL_S"] = str(CHECKPOINT_S)
    settings = stack.up()
    figures: dict[str, list[Lasted]] = {kind: [] for kind in KINDS}
    shown: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    with stack.job(settings, "rocksdb", 1, name=JOB):
        for number in range(1, rounds + 1):
            for kind in KINDS:
                figures[kind].append(play(settings, kind))
                shown[kind].append(round(figures[kind][-1].round_s(), 2))
            show_round(number, rounds, shown, "s")
    medians = {kind: median(each.round_s() for each in lasted) for kind, lasted in figures.items()}
    work = {kind: round(median(each.node_s for each in lasted), 3) for kind, lasted in figures.items()}
    table("a round", ("", "s", "of it one node's work"), [(k, round(s, 2), work[k]) for k, s in medians.items()])
    conditions: dict[str, Any] = {"nodes": NODES, "parameters": LENGTH, "epsilon": EPSILON, "slots": 1}
    conditions |= {"checkpoint_s": CHECKPOINT_S, "node_s": work, "target": f"<= {TARGET}x of plaintext"}
    ratio = round(medians["plaintext"] / medians["encrypted"], 3)
    ours, peers = {"encrypted": round(medians["encrypted"], 2)}, {"plaintext": round(medians["plaintext"], 2)}
    return Result("federated_round", ours, peers, ratio, "the same round in plaintext", "s", conditions)


def play(settings: Settings, kind: str, nodes: int = NODES, length: int = LENGTH) -> Lasted:
    """One round of a model and a population of its own, whose nodes remember no other."""
    shutil.rmtree(federated_files.root(), ignore_errors=True)
    name = f"bench-{kind}-{time.time_ns()}"
    quorum = int(coordinator.QUORUM * nodes)
    population = provisioning.provision(nodes, name, quorum, EPSILON, DELTA)
    wish = RoundsWish(name, 1, clip=1.0, quorum=quorum, deadline_ms=DEADLINE_MS, epsilon=EPSILON / ROUNDS**0.5)
    initial = coordinator.first_version(name, np.zeros(length, np.float32), f'[["a", "float32", [{length}]]]')
    with encryption(kind):
        running = coordinator.RunningCoordinator(settings.kafka, wish, population, initial)
        holder = Holder(settings, population)
        try:
            return timed(settings, running, holder, [made(node, population) for node in population.nodes])
        finally:
            running.close()
            holder.close()


@contextmanager
def encryption(kind: str) -> Iterator[None]:
    before = bfv.Encryptor, bfv.Decryptor
    if kind == "plaintext":
        bfv.Encryptor, bfv.Decryptor = Plain, Plain  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        bfv.Encryptor, bfv.Decryptor = before  # type: ignore[misc]


def made(name: str, population: Population) -> Node:
    def train(arrays: Arrays, _: int) -> Arrays:
        before = flat(arrays).astype(np.float32)
        return {"a": before + np.random.default_rng(1).standard_normal(len(before), np.float32)}

    return Node(name, population, train, federated_files.node(name))


class Holder:
    """The key holder, step by step in this process."""

    def __init__(self, settings: Settings, population: Population) -> None:
        folder = federated_files.holder()
        secrets = {path.stem: path.read_bytes() for path in folder.glob("*.secret")}
        tags = federated_files.Keys(folder / federated_files.TAGS).current()
        ledger = Ledger(Path(folder / f"{population.name}.jsonl"))
        self._holder = key_holder.KeyHolder(population, tags, secrets, ledger)
        self._follower = TopicFollower(settings.kafka, key_holder.EVERYTHING)
        self._writer = Writer(settings.kafka, "key-holder")
        for told in self._follower.catch_up():
            if told.topic != topics.SUMS:
                self._holder.hear(told)

    def step(self) -> None:
        for told in self._follower.poll(20):
            self._holder.hear(told)
        for records in self._holder.answers(time.time_ns() // 1_000_000):
            self._writer.write(Told(topics.AGGREGATES, record) for record in records)

    def close(self) -> None:
        self._follower.close()
        self._writer.close()


def timed(settings: Settings, running: coordinator.RunningCoordinator, holder: Holder, nodes: list[Node]) -> Lasted:
    known, model = running.coordinator.rounds, running.coordinator.wish.model
    stack.wait(lambda: stepped(running) and known.current(model) is not None, "the round is open")
    round_ = known.current(model)
    assert round_
    began_s = time.perf_counter()
    start = np.zeros(round_["length"], np.float32)
    frames = {node.name: node.frames(round_, start, round_["opened_ms"]) for node in nodes}
    node_s = (time.perf_counter() - began_s) / len(nodes)
    producer = KafkaProducer(**settings.kafka.client(), acks="all")
    began_s = time.perf_counter()
    for each in frames.values():
        for chunk, value in enumerate(each):
            producer.send(topics.GRADIENTS, key=frame.kafka_key(round_["round"], chunk), value=value)
    producer.close()
    receipts = known.receipts[round_["round"]]
    stack.wait(lambda: stepped(running, holder) and len(receipts) == len(nodes), "all receipts")
    kept_s, began_s = time.perf_counter() - began_s, time.perf_counter()
    stack.wait(lambda: stepped(running, holder) and running.coordinator.is_done(), "the round is over")
    sent = sum(len(value) for each in frames.values() for value in each)
    return Lasted(node_s, kept_s, time.perf_counter() - began_s, sent)


def stepped(running: coordinator.RunningCoordinator, holder: Holder | None = None) -> bool:
    running.step(20)
    if holder:
        holder.step()
    return True
