"""What the topics say about the rounds, which is all that a coordinator knows."""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from headrace.edge.federated.channel import Told
from headrace.schemas import topics
from headrace.udfs.federated import rounds
from headrace.udfs.federated.mechanisms import Disjoint, Mechanism

Record = dict[str, Any]


class Rounds:
    """The state of all rounds and models, from the records in the order of their topics."""

    def __init__(self) -> None:
        self.rounds: dict[int, Record] = {}
        self.receipts: dict[int, dict[str, int]] = defaultdict(dict)
        self.cohorts: dict[int, dict[int, list[Record]]] = defaultdict(dict)  # by attempt
        self.refused: dict[int, dict[int, str]] = defaultdict(dict)
        self.opened: set[int] = set()
        self.epsilon = 0.0
        self._parts: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.versions: dict[str, int] = {}  # the newest complete one of each model
        self.models: dict[str, Record] = {}

    def hear(self, told: Told) -> None:
        record = told.record
        match told.topic:
            case topics.ROUNDS:
                before = self.rounds.get(record["round"], record)
                self.rounds[record["round"]] = record if before["status"] == "open" else before
            case topics.RECEIPTS:
                self.receipts[record["round"]][record["node"]] = record["as_of_ms"]
            case topics.COHORTS:
                self.cohorts[record["round"]].setdefault(record["attempt"], []).append(record)
            case topics.AGGREGATES:
                self._hear_aggregate(record)
            case topics.GLOBAL_MODEL:
                self._hear_model(record)

    def _hear_aggregate(self, record: Record) -> None:
        self.epsilon = max(self.epsilon, math.inf if record["epsilon"] is None else record["epsilon"])
        if record["status"] == "opened":
            self.opened.add(record["round"])
        else:
            self.refused[record["round"]][record["attempt"]] = record["reason"] or ""

    def _hear_model(self, record: Record) -> None:
        model, version = record["model"], record["version"]
        self._parts[model, version].add(record["part"])
        if len(self._parts[model, version]) == record["parts"] and version > self.versions.get(model, -1):
            self.versions[model] = version
            self.models[model] = record

    def current(self, model: str) -> Record | None:
        """The open round of a model, if there is one."""
        newest = max(self.of(model), default=0)
        return self.rounds[newest] if newest and self.rounds[newest]["status"] == "open" else None

    def of(self, model: str) -> Iterator[int]:
        """The numbers of a model's rounds."""
        return (number for number, record in self.rounds.items() if record["model"] == model)

    def over(self, model: str) -> int:
        """How many rounds of a model have a result."""
        return sum(self.rounds[number]["status"] == "closed" for number in self.of(model))

    def spent(self, population: str) -> list[Mechanism]:
        """The mechanism of each round of a population that was opened, or may still be."""
        counted = [
            record
            for number, record in self.rounds.items()
            if record["population"] == population and (number in self.opened or record["status"] != "aborted")
        ]
        return [charge(record) for record in counted]


def charge(round_: Record) -> Mechanism:
    """What a round costs if its sums are opened."""
    part = rounds.mechanism(round_)
    return part if round_["buckets"] == 1 else Disjoint((part,) * round_["buckets"])
