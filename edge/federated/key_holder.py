"""The only process with the secret key: it opens at most one cohort of a round, or says why not (docs/federated.md).

It reads `rounds` and `sums`, never `gradients`, and trusts neither the coordinator nor Flink: the least number of
nodes, the budget and the nodes' keys are its own. A sum proves by its tag that it holds each claimed node once.
"""

import hashlib
import logging
import math
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headrace.edge.federated import bfv
from headrace.edge.federated.channel import Told, TopicFollower, Writer
from headrace.edge.federated.ledger import Ledger, Opening
from headrace.edge.federated.provisioning import Population, read
from headrace.infra import federated_files
from headrace.infra.settings import Kafka
from headrace.schemas import topics
from headrace.udfs.federated import accountant, packing, rounds
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint

log = logging.getLogger(__name__)
ATTEMPTS_MAX = 32  # cohorts of a round whose tags are tried: each answer reveals one bit about who spoilt the sum
EVERYTHING = [topics.ROUNDS, topics.SUMS, topics.AGGREGATES]
Record = dict[str, Any]
Claim = dict[tuple[int, int], Record]  # by (bucket, chunk): the sums of one attempt


class SumRefused(Exception):
    """A sum that may not be opened. Its text is one line: the rule, and what broke it."""


class OpenedSums(NamedTuple):
    buckets: list[rounds.BucketSum]
    opening: Opening


class KeyHolder:
    """Decides what is opened. It reads and writes nothing but its ledger."""

    def __init__(
        self, population: Population, tags: dict[str, bytes], secrets: dict[str, bytes], ledger: Ledger
    ) -> None:
        self._population, self._tags, self._ledger = population, tags, ledger
        self._secrets = secrets
        self._rounds: dict[int, Record] = {}
        self._claims: dict[tuple[int, int], Claim] = {}
        self._answered: set[tuple[int, int]] = set()
        self._failed: dict[int, int] = {}  # attempts whose tags were wrong

    def hear(self, told: Told) -> None:
        record = told.record
        if told.topic == topics.ROUNDS:
            self._rounds.setdefault(record["round"], record)  # the round is what it was when it opened
        elif told.topic == topics.SUMS and (record["round"], record["attempt"]) not in self._answered:
            claim = self._claims.setdefault((record["round"], record["attempt"]), {})
            place = record["bucket"], record["chunk"]
            if place in claim and claim[place] != record:
                log.warning("round %d: another sum of bucket %d, chunk %d is left out", record["round"], *place)
            claim.setdefault(place, record)
        elif told.topic == topics.AGGREGATES:
            self._answered.add((record["round"], record["attempt"]))
            self._claims.pop((record["round"], record["attempt"]), None)

    def answers(self, now_ms: int) -> Iterable[list[Record]]:
        """Yields the records that answer an attempt, for each attempt that is complete and has no answer yet."""
        for name in sorted(self._claims.keys() - self._answered):
            claim, round_ = self._claims[name], self._rounds.get(name[0])
            if round_ is None or not _is_complete(claim):
                continue
            try:
                records = self._published(round_, name[1], self.open(round_, claim, now_ms))
            except SumRefused as refused:
                log.warning("round %d, attempt %d is refused: %s", *name, refused)
                records = [self._refused(round_, name[1], str(refused))]
            self._answered.add(name)
            del self._claims[name]
            yield records

    def open(self, round_: Record, claim: Claim, now_ms: int) -> OpenedSums:
        """Opens the sums of a claim, after they are charged. Raises SumRefused, and then nothing is charged."""
        cohorts = self._cohorts(round_, claim)
        digest = _digest(claim)
        before = self._ledger.openings.get(round_["round"])
        if before and before.digest != digest:
            raise SumRefused("second opening: a round is opened once, and another sum of it was opened")
        parts = [rounds.mechanism(round_)] * len(cohorts)
        if not before:
            self._check_budget(parts)
        totals = [self._total(round_, claim, bucket, nodes) for bucket, nodes in enumerate(cohorts)]
        if not before:
            before = self._opening(round_, claim, digest, parts, sum(map(len, cohorts)), now_ms)
            self._ledger.charge(before)
        buckets = [rounds.BucketSum(total, len(nodes)) for total, nodes in zip(totals, cohorts, strict=True)]
        return OpenedSums(buckets, before)

    def _cohorts(self, round_: Record, claim: Claim) -> list[list[str]]:
        buckets, layout = round_["buckets"], rounds.layout(round_)
        chunks = layout.chunks(round_["length"])
        if round_["population"] != self._population.name:
            raise SumRefused(f"population: must be {self._population.name}, got {round_['population']}")
        if round_["parameters"] != bfv.parameters(layout).hex():
            raise SumRefused(f"parameters: must be those of width {round_['width']}, got {round_['parameters']}")
        if round_["key_id"] not in self._secrets:
            raise SumRefused(f"key id: must be of a key held here, got {round_['key_id']}")
        if set(claim) != {(bucket, chunk) for bucket in range(buckets) for chunk in range(chunks)}:
            raise SumRefused(f"complete: must have {buckets} buckets of {chunks} chunks, got {len(claim)} sums")
        cohorts = [claim[bucket, 0]["nodes"] for bucket in range(buckets)]
        for (bucket, chunk), record in claim.items():
            if record["nodes"] != cohorts[bucket]:
                raise SumRefused(
                    f"same cohort: all chunks of bucket {bucket} must have one cohort, chunk {chunk} has another"
                )
        self._check_nodes(round_, cohorts)
        return cohorts

    def _check_nodes(self, round_: Record, cohorts: list[list[str]]) -> None:
        least = max(self._population.k, round_["quorum"])
        everybody = [node for nodes in cohorts for node in nodes]
        if len(set(everybody)) != len(everybody):
            raise SumRefused("disjoint: a node must be in one bucket, once")
        if unknown := set(everybody) - (self._tags.keys() & set(round_["invited"])):
            raise SumRefused(f"nodes: must be known and invited, got {min(unknown)}")
        if many := [len(nodes) for nodes in cohorts if len(nodes) > bfv.NODES_MAX]:
            raise SumRefused(f"size: a cohort must have <= {bfv.NODES_MAX} nodes, got {many[0]}")
        if few := [len(nodes) for nodes in cohorts if len(nodes) < least]:
            raise SumRefused(f"size: a cohort must have >= {least} nodes, got {few[0]}")

    def _check_budget(self, parts: list[DiscreteGaussianSum]) -> None:
        coming = parts[0] if len(parts) == 1 else Disjoint(tuple(parts))
        if why := accountant.refusal(self._ledger.spent(self._population.name), coming, self._population.budget()):
            raise SumRefused(f"budget: {why}")

    def _total(self, round_: Record, claim: Claim, bucket: int, nodes: list[str]) -> Any:
        """The integers of a bucket, (length,). Raises SumRefused unless its tags are those of exactly these nodes."""
        number, layout = round_["round"], rounds.layout(round_)
        if self._failed.get(number, 0) >= ATTEMPTS_MAX:
            raise SumRefused(f"attempts: must be <= {ATTEMPTS_MAX} cohorts with a wrong tag")
        decryptor = bfv.Decryptor(self._secrets[round_["key_id"]])
        try:
            slots = np.array(
                [decryptor.decrypt(_body(claim[bucket, chunk])) for chunk in range(claim[bucket, 0]["chunks"])]
            )
        except (ValueError, RuntimeError) as error:
            raise SumRefused(f"ciphertext: {error}") from None
        total, tags = packing.unpack(slots, layout, round_["length"])
        keys = [self._tags[node] for node in nodes]
        wrong = [chunk for chunk, tag in enumerate(tags) if tag != packing.tag_sum(keys, number, chunk)]
        if wrong:
            self._failed[number] = self._failed.get(number, 0) + 1
            raise SumRefused(f"tag: must be the sum of the {len(nodes)} nodes' tags, it is not in chunk {wrong[0]}")
        return total

    def _opening(self, round_: Record, claim: Claim, digest: str, parts: list[Any], nodes: int, now_ms: int) -> Opening:
        coming = parts[0] if len(parts) == 1 else Disjoint(tuple(parts))
        past = self._ledger.spent(self._population.name)
        epsilon = _bounded(accountant.projected(past, coming, self._population.delta))
        attempt = claim[0, 0]["attempt"]
        return Opening(round_["round"], attempt, self._population.name, digest, parts, nodes, epsilon, now_ms)

    def _published(self, round_: Record, attempt: int, opened: OpenedSums) -> list[Record]:
        common = self._common(round_, attempt) | {"status": "opened", "epsilon": opened.opening.epsilon}
        common["parts"] = rounds.parts(round_["length"])
        return [
            common | {"bucket": bucket, "nodes": each.nodes, "part": part, "values": values}
            for bucket, each in enumerate(opened.buckets)
            for part, values in enumerate(rounds.split(each.total, "<i8"))
        ]

    def _refused(self, round_: Record, attempt: int, reason: str) -> Record:
        spent = _bounded(accountant.epsilon(self._ledger.spent(self._population.name), self._population.delta))
        own = {"status": "refused", "epsilon": spent, "bucket": 0, "nodes": 0, "part": 0, "parts": 0, "reason": reason}
        return self._common(round_, attempt) | own

    def _common(self, round_: Record, attempt: int) -> Record:
        names = ("round", "buckets", "model", "version", "rule", "scale")
        return {name: round_[name] for name in names} | {"rate": round_.get("rate"), "attempt": attempt}


def _bounded(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def _is_complete(claim: Claim) -> bool:
    """Whether the claim has as many sums as it says."""
    first = next(iter(claim.values()))
    return bool(len(claim) >= first["buckets"] * first["chunks"])


def _body(record: Record) -> bytes:
    return rounds.decode(record["ciphertext"])


def _digest(claim: Claim) -> str:
    digest = hashlib.sha256()
    for place in sorted(claim):
        digest.update(msgspec.json.encode([place, claim[place]["nodes"], claim[place]["ciphertext"]]))
    return digest.hexdigest()


def of_home() -> KeyHolder:
    """The key holder whose files are in the home. Raises HeadraceError if there is no population."""
    folder = federated_files.holder()
    secrets = {path.stem: path.read_bytes() for path in folder.glob("*.secret")}
    tags = federated_files.Keys(folder / federated_files.TAGS).current()
    return KeyHolder(read(folder), tags, secrets, Ledger(folder / "ledger.jsonl"))


def serve(kafka: Kafka, poll_ms: int = 200) -> None:
    """Answers sums without an end."""
    holder, writer, follower = of_home(), Writer(kafka, "key-holder"), TopicFollower(kafka, EVERYTHING)
    for told in follower.catch_up():
        holder.hear(told)
    while True:
        for records in holder.answers(time.time_ns() // 1_000_000):
            writer.write(Told(topics.AGGREGATES, record) for record in records)
        for told in follower.poll(poll_ms):
            holder.hear(told)
