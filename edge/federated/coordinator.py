"""Opens rounds, invites nodes, names the cohort, and says when a round is over; docs/federated.md has the protocol.

All its knowledge is in Kafka: `Rounds` is a function of the topics, and the next step is a function of `Rounds`, the
wish and the time. So a coordinator that was killed goes on where the records end. Only the rounds that
`RoundsWish.at_most` counts are its own: those that end while it runs.
"""

import random
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.edge.federated import bfv
from headrace.edge.federated.channel import Told, TopicFollower, Writer
from headrace.edge.federated.provisioning import Population
from headrace.edge.federated.round_log import Record, Rounds, charge
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import Kafka
from headrace.schemas import topics
from headrace.udfs.federated import accountant, robust, rounds
from headrace.udfs.federated.accountant import Budget
from headrace.udfs.federated.mechanisms import Mechanism
from headrace.udfs.federated.plan import RoundPlan, plan

EVERYTHING = [topics.ROUNDS, topics.RECEIPTS, topics.COHORTS, topics.AGGREGATES, topics.GLOBAL_MODEL]
QUORUM = 0.8  # share of the invited nodes, if the wish names no quorum
ATTEMPTS = 16  # cohorts that are tried in a round that a node has spoilt
TELL_S = 5.0  # the least time between two lines of progress


class RoundsWish(NamedTuple):
    """What the operator wants of a model's rounds."""

    model: str
    rounds: int  # in all, including those that are over
    clip: float
    quorum: int  # least nodes of a cohort, or of each bucket; 0: k per bucket, QUORUM of the invited nodes otherwise
    rule: str = "fedavg"
    rate: float | None = None  # length of the rule's step; None: the rule's own
    sample: int = 0  # nodes invited to a round; 0: all
    buckets: bool = False  # as many as the quorum allows, for a robust rule
    deadline_ms: int = 60_000
    grace_ms: int = 30_000  # how long receipts may come after their frames: some checkpoints of Flink
    epsilon: float | None = None  # budget of all the rounds together; None: no noise
    inflation: float = 1.1  # the largest factor by which rounding may raise the noise: see udfs/federated/plan.py
    at_most: int = 0  # rounds of this run, including one that is open at its start; 0: all that are left
    first: int = 1  # no new round has a lower number


class Coordinator:
    def __init__(self, wish: RoundsWish, population: Population, chance: random.Random | None = None) -> None:
        self.wish, self._population = wish, population
        self.rounds = Rounds()
        self._chance = chance or random.SystemRandom()
        self._plans: dict[tuple[RoundsWish, int, int], RoundPlan] = {}
        self._before: set[int] = set()

    def begin(self) -> None:
        """Begins a run. The rounds that have ended before are not part of it."""
        self._before = self._ended()

    def is_done(self) -> bool:
        if self.rounds.current(self.wish.model):
            return False
        is_enough = 0 < self.wish.at_most <= len(self._tried()) or bool(self.failure())
        return is_enough or self.rounds.over(self.wish.model) >= self.wish.rounds

    def failure(self) -> str:
        """Why a round of this run has no result. Empty without at_most: then rounds are tried until they have one."""
        aborted = [each for each in self._tried() if each["status"] == "aborted"] if self.wish.at_most else []
        return f"round {aborted[0]['round']} was aborted: {aborted[0]['reason']}" if aborted else ""

    def standing(self) -> str:
        """One line about what the rounds wait for."""
        over, log = f"{self.rounds.over(self.wish.model)} of {self.wish.rounds} rounds are over", self.rounds
        round_ = log.current(self.wish.model)
        if round_ is None:
            return over
        number = round_["round"]
        if number in log.opened:
            return f"{over}; round {number} is opened, Flink has yet to fold it"
        if cohorts := log.cohorts[number]:
            count = sum(len(record["nodes"]) for record in cohorts[max(cohorts)])
            return f"{over}; round {number} has a cohort of {count}: Flink has yet to sum it, the key holder to open it"
        return f"{over}; round {number} has {len(log.receipts[number])} of {len(round_['invited'])} nodes"

    def _tried(self) -> list[Record]:
        return [self.rounds.rounds[number] for number in sorted(self._ended() - self._before)]

    def _ended(self) -> set[int]:
        return {number for number in self.rounds.of(self.wish.model) if self.rounds.rounds[number]["status"] != "open"}

    def next(self, now_ms: int) -> list[Told]:
        """The records to write now. Raises Refusal if the budget does not allow the next round."""
        round_ = self.rounds.current(self.wish.model)
        if round_ is None:
            return [] if self.is_done() else [Told(topics.ROUNDS, self._opened(now_ms))]
        number, cohorts = round_["round"], self.rounds.cohorts[round_["round"]]
        if number in self.rounds.opened:
            folded = self.rounds.versions.get(self.wish.model, -1) > round_["version"]
            return [_ended(round_, "closed")] if folded else []
        if not cohorts:
            return self._first_cohort(round_, now_ms)
        attempt = max(cohorts)
        if attempt in self.rounds.refused[number]:
            return self._another(round_, attempt, self.rounds.refused[number][attempt])
        return []

    def _opened(self, now_ms: int) -> Record:
        wish, population = self.wish, self._population
        model = self.rounds.models.get(wish.model)
        if model is None:
            raise HeadraceError(f"global model {wish.model!r} does not exist: begin it with --initial")
        count = wish.sample or len(population.nodes)
        invited = sorted(self._chance.sample(population.nodes, min(count, len(population.nodes))))
        planned = self._planned(model["length"], len(invited))
        done = planned.done
        buckets = len(invited) // done.quorum if wish.buckets else 1
        if len(invited) // buckets > bfv.NODES_MAX:
            most = f"nodes of a sum must be <= {bfv.NODES_MAX}"
            raise HeadraceError(f"{most}, got {len(invited) // buckets}: --sample invites fewer")
        record = {
            "round": max([wish.first - 1, *self.rounds.rounds]) + 1, "status": "open", "model": wish.model,
            "version": model["version"], "population": population.name, "length": done.dimension,
            "chunks": planned.layout.chunks(done.dimension), "clip": done.clip, "scale": done.scale,
            "node_sigma": done.node_sigma, "quorum": done.quorum, "width": planned.layout.width,
            "buckets": buckets,
            "parameters": bfv.parameters(planned.layout).hex(), "key_id": population.key_id, "rule": wish.rule,
            "rate": wish.rate, "invited": invited, "layers": model["layers"],
            "opened_ms": now_ms, "deadline_ms": now_ms + wish.deadline_ms,
        }  # fmt: skip
        self._check_budget(charge(record))
        return record

    def _planned(self, length: int, nodes: int) -> RoundPlan:
        wish = self.wish
        budget = None if wish.epsilon is None else Budget(wish.epsilon, self._population.delta)
        planned = self._plans.get((wish, length, nodes))
        if planned is None:
            planned = plan(length, wish.clip, nodes, self._quorum(nodes), budget, wish.rounds, wish.inflation)
            self._plans[wish, length, nodes] = planned
        return planned

    def _quorum(self, nodes: int) -> int:
        k = self._population.k
        quorum = self.wish.quorum or (k if self.wish.buckets else max(k, int(QUORUM * nodes)))
        if quorum < k:
            raise HeadraceError(f"quorum must be >= {k}, the k of population {self._population.name}, got {quorum}")
        return quorum

    def _check_budget(self, coming: Mechanism) -> None:
        population = self._population
        spent = self.rounds.spent(population.name)
        if why := accountant.refusal(spent, coming, population.budget()):
            raise Refusal(f"no round begins: {why}")

    def _first_cohort(self, round_: Record, now_ms: int) -> list[Told]:
        number, deadline = round_["round"], round_["deadline_ms"]
        ready = sorted(self.rounds.receipts[number].keys() & set(round_["invited"]))
        if len(ready) < len(round_["invited"]) and now_ms < deadline + self.wish.grace_ms:
            return []
        if len(ready) < max(round_["quorum"], self._population.k) * round_["buckets"]:
            return [
                _ended(round_, "aborted", f"quorum: must be >= {round_['quorum']} nodes a bucket, got {len(ready)}")
            ]
        return _cohorts(round_, 0, ready)

    def _another(self, round_: Record, attempt: int, reason: str) -> list[Told]:
        """Another cohort, if a node has spoilt the sum: it leaves out one share of the first cohort after another."""
        first = sorted({node for record in self.rounds.cohorts[round_["round"]][0] for node in record["nodes"]})
        least = max(round_["quorum"], self._population.k) * round_["buckets"]
        share = min(len(first) - least, -(-len(first) // ATTEMPTS))
        left_out = share and first[attempt * share : (attempt + 1) * share]
        if not reason.startswith(("tag:", "ciphertext:")) or not left_out:
            return [_ended(round_, "aborted", reason)]
        return _cohorts(round_, attempt + 1, [node for node in first if node not in set(left_out)])


def _cohorts(round_: Record, attempt: int, nodes: list[str]) -> list[Told]:
    number, buckets = round_["round"], round_["buckets"]
    seed = b"buckets of %d/%d at %d" % (number, attempt, round_["opened_ms"])
    groups = robust.buckets(nodes, len(nodes) // buckets, seed)[:buckets] if buckets > 1 else [nodes]
    common = {"round": number, "attempt": attempt, "buckets": buckets, "chunks": round_["chunks"]}
    return [Told(topics.COHORTS, common | {"bucket": n, "nodes": sorted(group)}) for n, group in enumerate(groups)]


def _ended(round_: Record, status: str, reason: str | None = None) -> Told:
    return Told(topics.ROUNDS, round_ | {"status": status, "reason": reason})


def first_version(model: str, parameters: NDArray[np.float32], layers: str | None) -> list[Told]:
    """The records of version 0 of a global model."""
    parts = rounds.split(parameters, "<f4")
    common: Record = {"model": model, "version": 0, "round": 0, "parts": len(parts), "length": len(parameters)}
    common["layers"] = layers
    return [Told(topics.GLOBAL_MODEL, common | {"part": n, "parameters": part}) for n, part in enumerate(parts)]


def initial(model: str, path: Path) -> list[Told]:
    """The records of version 0 from a file of arrays: .npz by name, .npy for item factors.

    Raises HeadraceError if the file is missing.
    """
    if not path.is_file():
        raise HeadraceError(f"--initial must name an existing file, got {str(path)!r}")
    content = np.load(path)
    arrays = dict(content) if path.suffix == ".npz" else {"item_factors": content}
    layers = [(name, str(array.dtype), array.shape) for name, array in arrays.items()]
    flat = np.concatenate([array.ravel() for array in arrays.values()]).astype(np.float32)
    return first_version(model, flat, msgspec.json.encode(layers).decode())


class RunningCoordinator:
    """A coordinator connected to Kafka. Call `step` until `coordinator.is_done()`."""

    def __init__(
        self, kafka: Kafka, wish: RoundsWish, population: Population, initial: list[Told] | None = None
    ) -> None:
        self.coordinator = Coordinator(wish, population)
        self._follower, self._writer = TopicFollower(kafka, EVERYTHING), Writer(kafka, "coordinator")
        self._hear(self._follower.catch_up())
        if initial and wish.model not in self.coordinator.rounds.versions:
            self._say(initial)
        self.coordinator.begin()

    def step(self, timeout_ms: int = 200) -> None:
        self._hear(self._follower.poll(timeout_ms))
        self._say(self.coordinator.next(time.time_ns() // 1_000_000))

    def _hear(self, told: list[Told]) -> None:
        for each in told:
            self.coordinator.rounds.hear(each)

    def _say(self, told: list[Told]) -> None:
        if told:
            self._writer.write(told)
            self._hear(told)

    def close(self) -> None:
        self._follower.close()
        self._writer.close()


def serve(kafka: Kafka, wish: RoundsWish, population: Population, initial: list[Told] | None) -> int:
    """Runs rounds and prints their progress. Returns how many are over in all.

    Raises HeadraceError if a round of this run has no result.
    """
    running = RunningCoordinator(kafka, wish, population, initial)
    printed, next_s = "", 0.0
    try:
        while not running.coordinator.is_done():
            running.step()
            if time.monotonic() >= next_s and (standing := running.coordinator.standing()) != printed:
                print(standing, flush=True)
                printed, next_s = standing, time.monotonic() + TELL_S
    finally:
        running.close()
    if why := running.coordinator.failure():
        raise HeadraceError(why)
    return running.coordinator.rounds.over(wish.model)
