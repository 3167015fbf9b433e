"""A node trains on data that stays with it, and sends its update after clip, noise and encryption.

    train > clip > rotate > scale > round at random > its share of noise > pack > encrypt > MAC > seal on disk > send

It trusts nobody with its users. It has its own copies of the population's budget and the public key. It sends nothing
to a round that would spend more than the budget if it were opened.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaProducer
from numpy.typing import NDArray

from headrace.edge.federated import bfv
from headrace.edge.federated.channel import Told, TopicFollower
from headrace.edge.federated.layers import Layers, Train, flat, shaped
from headrace.edge.federated.outbox import UNKNOWN_MS, Folder, Taken
from headrace.edge.federated.provisioning import Population
from headrace.infra import federated_files
from headrace.infra.errors import describe
from headrace.infra.settings import Kafka
from headrace.schemas import topics
from headrace.udfs.federated import accountant, frame, packing, round_arithmetic, rounds

log = logging.getLogger(__name__)
Record = dict[str, Any]


class RoundRefused(Exception):
    """Why this node sends nothing to a round. Its text is the rule, and what broke it."""


class Node:
    """One node: `frames` returns what it sends to a round."""

    def __init__(self, name: str, population: Population, train: Train, folder: Path) -> None:
        self.name, self._population, self._train = name, population, train
        keys = msgspec.json.decode((folder / federated_files.SECRET).read_bytes(), type=dict[str, str])
        self._mac, self._tag = bytes.fromhex(keys["mac"]), bytes.fromhex(keys["tag"])
        self._folder = Folder(folder)
        self._taken = {each.round: each for each in self._folder.taken()}
        self._refused: set[int] = set()

    def frames(self, round_: Record, model: NDArray[np.float32], now_ms: int) -> list[bytes]:
        """The frames to send to an open round, the same in each call. Empty if it takes no part or has sent them."""
        number = round_["round"]
        if not self._is_taken(round_):
            if number in self._refused or self.name not in round_["invited"] or now_ms > round_["deadline_ms"]:
                return []
            try:
                self._take(round_, model)
            except RoundRefused as refused:
                log.warning("%s takes no part in round %d: %s", self.name, number, refused)
                self._refused.add(number)
                return []
        sealed = self._folder.of(number)
        return [] if sealed is None or sealed.is_sent else sealed.frames

    def _is_taken(self, round_: Record) -> bool:
        taken = self._taken.get(round_["round"])
        return taken is not None and taken.opened_ms in (UNKNOWN_MS, round_["opened_ms"])

    def _take(self, round_: Record, model: NDArray[np.float32]) -> None:
        layout = rounds.layout(round_)
        self._check(round_, layout)
        layers = msgspec.json.decode(round_["layers"] or "[]", type=Layers)
        before = shaped(model, layers or [("parameters", "float32", [round_["length"]])])
        try:
            after = self._train(before, round_["round"])
        except Exception as error:  # the app is not ours, it may raise anything; the node goes on with the next round
            raise RoundRefused(f"app: {describe(error)}") from error
        update = flat(after) - flat(before)
        frames = self.encrypted(round_, layout, update)
        taken = Taken(round_["round"], round_["population"], rounds.mechanism(round_), round_["opened_ms"])
        self._folder.seal(taken, frames)
        self._taken[taken.round] = taken

    def encrypted(self, round_: Record, layout: packing.Layout, update: NDArray[np.float64]) -> list[bytes]:
        """The frames of an update (length,), one per chunk, after everything that protects it."""
        number = round_["round"]
        values = self.protected(round_, update)
        tags = np.array([packing.tag(self._tag, number, chunk) for chunk in range(round_["chunks"])], np.int64)
        encryptor = bfv.Encryptor(federated_files.public_key(round_["key_id"]).read_bytes())
        key_id, parameters = bytes.fromhex(round_["key_id"]), bytes.fromhex(round_["parameters"])
        bodies = [encryptor.encrypt(slots) for slots in packing.pack(values, layout, tags)]
        places = [(number, chunk, len(bodies), self.name, key_id, parameters) for chunk in range(len(bodies))]
        return [frame.encode(frame.Frame(*place, body), self._mac) for place, body in zip(places, bodies, strict=True)]

    def protected(self, round_: Record, update: NDArray[np.float64]) -> NDArray[np.int64]:
        return round_arithmetic.protect(update, rounds.mechanism(round_), rounds.seed(round_["round"]), os.urandom)

    def _check(self, round_: Record, layout: packing.Layout) -> None:
        public, population = federated_files.public_key(round_["key_id"]), self._population
        if round_["round"] in self._taken:
            raise RoundRefused(f"round: must be one not taken before, got {round_['round']}: --first begins above it")
        if round_["population"] != population.name:
            raise RoundRefused(f"population: must be {population.name}, got {round_['population']}")
        if not public.is_file() or bfv.key_id(public.read_bytes()).hex() != round_["key_id"]:
            raise RoundRefused(f"key id: must be of a public key in {public.parent}, got {round_['key_id']}")
        if round_["parameters"] != bfv.parameters(layout).hex():
            raise RoundRefused(f"parameters: must be those of width {round_['width']}, got {round_['parameters']}")
        if round_["chunks"] != layout.chunks(round_["length"]):
            raise RoundRefused(f"chunks: must be {layout.chunks(round_['length'])}, got {round_['chunks']}")
        if round_["quorum"] < population.k:
            raise RoundRefused(f"quorum: must be >= {population.k}, got {round_['quorum']}")
        past = [each.mechanism for each in self._taken.values() if each.population == population.name]
        if why := accountant.refusal(past, rounds.mechanism(round_), population.budget()):
            raise RoundRefused(f"budget: {why}")

    def sent(self, number: int) -> None:
        self._folder.mark_sent(number)

    def ended(self, numbers: set[int]) -> None:
        self._folder.forget(numbers)


class Listener:
    """What a node knows about rounds and the model."""

    def __init__(self) -> None:
        self.rounds: dict[int, Record] = {}
        self._parts: dict[tuple[str, int], dict[int, str]] = {}

    def hear(self, told: Told) -> None:
        record = told.record
        if told.topic == topics.ROUNDS:
            self.rounds[record["round"]] = record
            return
        model, version = record["model"], record["version"]
        self._parts.setdefault((model, version), {})[record["part"]] = record["parameters"]
        for older in [key for key in self._parts if key[0] == model and key[1] < version - 1]:
            del self._parts[older]

    def ended(self) -> set[int]:
        return {number for number, record in self.rounds.items() if record["status"] != "open"}

    def current(self) -> tuple[Record, NDArray[np.float32]] | None:
        """The open round and the model from which it begins, (length,). None until both have arrived."""
        newest = self.rounds.get(max(self.rounds, default=0))
        if newest is None or newest["status"] != "open":
            return None
        parts = self._parts.get((newest["model"], newest["version"]), {})
        if len(parts) < rounds.parts(newest["length"]):
            return None
        return newest, rounds.join([parts[n] for n in range(len(parts))], "<f4")[0]


class RunningNodes:
    """The nodes of one process, connected to Kafka. A device has one."""

    def __init__(self, kafka: Kafka, nodes: list[Node]) -> None:
        self._nodes, self._listener = nodes, Listener()
        self._gradients = kafka.name(topics.GRADIENTS)
        self._follower = TopicFollower(kafka, [topics.ROUNDS, topics.GLOBAL_MODEL])
        self._producer = KafkaProducer(**kafka.client(), acks="all")
        self._hear(self._follower.catch_up())

    def step(self, timeout_ms: int = 200) -> int:
        """Takes part in the open round, and returns how many frames were sent."""
        self._hear(self._follower.poll(timeout_ms))
        current = self._listener.current()
        if current is None:
            return 0
        round_, model = current
        return sum(self._send(node, round_, model) for node in self._nodes)

    def _hear(self, told: list[Told]) -> None:
        for each in told:
            self._listener.hear(each)
        if any(each.topic == topics.ROUNDS for each in told):
            for node in self._nodes:
                node.ended(self._listener.ended())

    def _send(self, node: Node, round_: Record, model: NDArray[np.float32]) -> int:
        number = round_["round"]
        frames = node.frames(round_, model, time.time_ns() // 1_000_000)
        sending = [
            self._producer.send(self._gradients, key=frame.kafka_key(number, chunk), value=value)
            for chunk, value in enumerate(frames)
        ]
        for each in sending:
            each.get(timeout=30)
        if frames:
            node.sent(number)
        return len(frames)

    def close(self) -> None:
        self._follower.close()
        self._producer.close()


def serve(kafka: Kafka, node: Node) -> None:
    """Takes part in rounds without an end."""
    running = RunningNodes(kafka, [node])
    while True:
        running.step()
