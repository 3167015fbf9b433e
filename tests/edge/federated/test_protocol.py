"""Nodes, coordinator and key holder without Kafka: what each does, and what each refuses."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.edge.federated import provisioning
from headrace.edge.federated.channel import Told
from headrace.edge.federated.coordinator import Coordinator, RoundsWish, first_version
from headrace.edge.federated.key_holder import KeyHolder, of_home
from headrace.edge.federated.layers import Arrays
from headrace.edge.federated.ledger import Ledger
from headrace.edge.federated.node import Node
from headrace.edge.federated.outbox import Folder
from headrace.edge.federated.provisioning import Population
from headrace.infra import federated_files
from headrace.infra.errors import HeadraceError
from headrace.schemas import topics
from headrace.udfs.contract import Contract
from headrace.udfs.federated import accountant, rounds
from tests.edge.federated import federation

pytest.importorskip("tenseal")
WISH = RoundsWish(federation.MODEL, 2, clip=1.0, quorum=3, epsilon=8.0)
NOW_MS = 1_769_817_600_000
Record = dict[str, Any]


@pytest.fixture
def population(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Population:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    return provisioning.provision(5, "p", 3, 8.0, 1e-5)


@pytest.fixture
def nodes(population: Population) -> list[Node]:
    return federation.nodes(population)


def begun(population: Population, wish: RoundsWish = WISH) -> Coordinator:
    coordinator = Coordinator(wish, population)
    for told in first_version(federation.MODEL, np.zeros(federation.LENGTH, np.float32), federation.LAYERS):
        coordinator.rounds.hear(told)
    return coordinator


def opened(population: Population, wish: RoundsWish = WISH) -> tuple[Coordinator, Record]:
    coordinator = begun(population, wish)
    (told,) = coordinator.next(NOW_MS)
    coordinator.rounds.hear(told)
    return coordinator, told.record


def frames_of(nodes: list[Node], round_: Record) -> dict[str, list[bytes]]:
    model = np.zeros(federation.LENGTH, np.float32)
    return {node.name: node.frames(round_, model, NOW_MS) for node in nodes}


def judged(round_: Record, sums: list[Record], holder: KeyHolder | None = None) -> tuple[KeyHolder, list[Record]]:
    holder = holder or of_home()
    holder.hear(Told(topics.ROUNDS, round_))
    for record in sums:
        holder.hear(Told(topics.SUMS, record))
    return holder, [record for records in holder.answers(NOW_MS) for record in records]


def test_an_opened_sum_is_that_of_the_nodes(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    frames = frames_of(nodes, round_)
    _, (told,) = judged(round_, federation.sums(round_, frames, population.nodes))
    Contract.of("aggregate").check(told)
    assert (told["status"], told["nodes"]) == ("opened", 5)
    total = rounds.join([told["values"]], "<i8")[0]
    mean = rounds.mean_update([rounds.BucketSum(total, 5)], round_["scale"], round_["round"])[0]
    expected = np.mean([federation.update_of(n) for n in range(5)], axis=0)
    noise = round_["node_sigma"] * 5**0.5 / (round_["scale"] * 5)
    assert np.abs(mean - expected).max() < 6 * noise
    assert told["epsilon"] == pytest.approx(accountant.epsilon([rounds.mechanism(round_)], 1e-5))


def test_a_cohort_is_four_fifths_of_those_invited_unless_the_wish_says_how_many(population: Population) -> None:
    assert [opened(population, WISH._replace(quorum=quorum))[1]["quorum"] for quorum in (0, 3, 5)] == [4, 3, 5]
    assert opened(population, WISH._replace(quorum=0, sample=3))[1]["quorum"] == 3  # k
    assert opened(population, WISH._replace(quorum=0, buckets=True))[1]["quorum"] == 3
    with pytest.raises(HeadraceError, match="quorum must be >= 3, the k of population p, got 2"):
        opened(population, WISH._replace(quorum=2))


def test_the_step_of_a_round_is_told_to_who_folds_it(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population, WISH._replace(rule="fedadam", rate=0.3))
    _, (told,) = judged(round_, federation.sums(round_, frames_of(nodes, round_), population.nodes))
    assert (told["rule"], told["rate"]) == ("fedadam", 0.3)
    assert rounds.rule("fedadam", 0.3).rate == 0.3
    assert rounds.rule("fedadam", None).rate == 0.01


def test_without_a_budget_there_may_be_no_noise(population: Population) -> None:
    free = provisioning.provision(5, "p", 3, math.inf, 1e-5)
    nodes = federation.nodes(free)
    _, round_ = opened(free, WISH._replace(epsilon=None, inflation=1 + 1e-9))
    assert round_["node_sigma"] == 0
    _, (told,) = judged(round_, federation.sums(round_, frames_of(nodes, round_), free.nodes))
    Contract.of("aggregate").check(told)
    assert told["epsilon"] is None
    mean = rounds.mean_update([rounds.BucketSum(rounds.join([told["values"]], "<i8")[0], 5)], round_["scale"], 1)[0]
    assert np.abs(mean - np.mean([federation.update_of(n) for n in range(5)], axis=0)).max() < 1e-5
    careful = federation.made(population.nodes[0], 0, population)  # its own copy of the population has a budget
    assert careful.frames(round_ | {"round": 2}, np.zeros(federation.LENGTH, np.float32), NOW_MS) == []


def test_the_coordinator_goes_through_a_round(population: Population, nodes: list[Node]) -> None:
    coordinator, round_ = opened(population)
    Contract.of("round").check(round_)
    assert coordinator.next(NOW_MS) == []
    for node in population.nodes[:4]:
        coordinator.rounds.hear(Told(topics.RECEIPTS, {"round": 1, "node": node, "chunks": 1, "as_of_ms": NOW_MS}))
    assert coordinator.next(NOW_MS + 1) == []  # one may come yet
    assert coordinator.standing() == "0 of 2 rounds are over; round 1 has 4 of 5 nodes"
    late_ms = round_["deadline_ms"] + WISH.grace_ms
    (cohort,) = coordinator.next(late_ms)
    assert cohort.record["nodes"] == population.nodes[:4]
    coordinator.rounds.hear(cohort)
    assert coordinator.next(late_ms) == []
    assert "round 1 has a cohort of 4: Flink has yet to sum it" in coordinator.standing()
    _, (aggregate,) = judged(round_, federation.sums(round_, frames_of(nodes, round_), population.nodes[:4]))
    coordinator.rounds.hear(Told(topics.AGGREGATES, aggregate))
    assert coordinator.next(late_ms) == []  # not folded yet
    assert "round 1 is opened, Flink has yet to fold it" in coordinator.standing()
    for told in first_version(federation.MODEL, np.ones(federation.LENGTH, np.float32), federation.LAYERS):
        coordinator.rounds.hear(Told(told.topic, told.record | {"version": 1, "round": 1}))
    (closed,) = coordinator.next(late_ms)
    assert closed.record["status"] == "closed"
    coordinator.rounds.hear(closed)
    assert coordinator.standing() == "1 of 2 rounds are over"
    (second,) = coordinator.next(late_ms)
    assert (second.record["round"], second.record["version"]) == (2, 1)


def test_a_round_below_the_quorum_is_aborted(population: Population) -> None:
    coordinator, round_ = opened(population)
    for node in population.nodes[:2]:
        coordinator.rounds.hear(Told(topics.RECEIPTS, {"round": 1, "node": node, "chunks": 1, "as_of_ms": NOW_MS}))
    (ended,) = coordinator.next(round_["deadline_ms"] + WISH.grace_ms)
    assert ended.record["status"] == "aborted"
    assert ended.record["reason"] == "quorum: must be >= 3 nodes a bucket, got 2"
    coordinator.rounds.hear(ended)
    assert coordinator.rounds.spent("p") == []


def test_no_round_begins_beyond_the_budget(population: Population) -> None:
    with pytest.raises(HeadraceError, match="no round begins: epsilon must stay <= 8 at delta 1e-05"):
        opened(population, WISH._replace(epsilon=9.0, rounds=1))


def test_an_unknown_model_has_no_round(population: Population) -> None:
    with pytest.raises(HeadraceError, match="global model 'm' does not exist"):
        Coordinator(WISH, population).next(NOW_MS)


def test_the_key_holder_refuses(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    frames, everybody = frames_of(nodes, round_), population.nodes
    good = federation.sums(round_, frames, everybody)
    few = federation.sums(round_, frames, everybody[:2])
    one = federation.sums(round_, frames, everybody[:1] * 5)
    repeated = [record | {"nodes": everybody} for record in one]
    twice = [record | {"nodes": [*everybody[:4], everybody[0]]} for record in good]
    missing = [record | {"nodes": everybody} for record in federation.sums(round_, frames, everybody[:4])]
    stranger = [record | {"nodes": [*everybody, "node-99999"]} for record in good]
    bucketed = [record | {"buckets": 2, "bucket": bucket} for bucket in (0, 1) for record in good]
    cases = {
        "size: a cohort must have >= 3 nodes, got 2": few,
        "tag: must be the sum of the 5 nodes' tags, it is not in chunk 0": repeated,
        "disjoint: a node must be in one bucket, once": twice,
        "tag: must be the sum": missing,
        "nodes: must be known and invited, got node-99999": stranger,
        "complete: must have 1 buckets of 1 chunks, got 2 sums": bucketed,
        "ciphertext: ": [record | {"ciphertext": "AAAA"} for record in good],
    }
    for said, sums in cases.items():
        holder, (told,) = judged(round_, sums)
        Contract.of("aggregate").check(told)
        assert told["status"] == "refused"
        assert told["reason"].startswith(said), told["reason"]
        assert told["epsilon"] == 0
    assert not (federated_files.holder() / "ledger.jsonl").exists()
    holder, (told,) = judged(round_, good)
    assert told["status"] == "opened"
    other = federation.sums(round_, frames, everybody[:4], attempt=1)
    _, (again,) = judged(round_, other, holder)
    assert again["reason"].startswith("second opening")


def test_chunks_of_different_cohorts_are_refused(population: Population) -> None:
    wish, length = WISH, 20_000
    coordinator = Coordinator(wish, population)
    for told in first_version(federation.MODEL, np.zeros(length, np.float32), '[["a", "float32", [20000]]]'):
        coordinator.rounds.hear(told)
    (told,) = coordinator.next(NOW_MS)
    round_ = told.record
    assert round_["chunks"] > 1
    frames = {
        node.name: node.frames(round_, np.zeros(length, np.float32), NOW_MS) for node in federation.nodes(population)
    }
    all_, four = (federation.sums(round_, frames, population.nodes[:count]) for count in (5, 4))
    _, (refused,) = judged(round_, [four[0], *all_[1:]])
    assert refused["reason"].startswith("same cohort: all chunks of bucket 0")
    _, (first, second) = judged(round_, all_)
    assert {first["status"], second["status"]} == {"opened"}


def test_buckets_must_be_disjoint_and_big_enough(population: Population, nodes: list[Node], tmp_path: Path) -> None:
    population = provisioning.provision(7, "p", 3, 8.0, 1e-5)
    nodes = federation.nodes(population)
    _, round_ = opened(population, WISH._replace(buckets=True))
    assert round_["buckets"] == 2
    frames, names = frames_of(nodes, round_), population.nodes
    halves = [
        federation.sums(round_, frames, part, bucket=n, buckets=2) for n, part in enumerate((names[:4], names[4:]))
    ]
    overlap = [halves[0], federation.sums(round_, frames, names[3:], bucket=1, buckets=2)]
    _, (refused,) = judged(round_, [record for half in overlap for record in half])
    assert refused["reason"] == "disjoint: a node must be in one bucket, once"
    _, told = judged(round_, [record for half in halves for record in half])
    assert [(each["bucket"], each["nodes"], each["status"]) for each in told] == [(0, 4, "opened"), (1, 3, "opened")]
    assert told[0]["epsilon"] == pytest.approx(accountant.epsilon([rounds.mechanism(round_)], 1e-5))


def test_a_budget_is_the_holders_own(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    frames = frames_of(nodes, round_)
    cheap = round_ | {"node_sigma": 1}  # what a lying coordinator would tell the holder
    _, (refused,) = judged(cheap, federation.sums(round_, frames, population.nodes))
    assert refused["reason"].startswith("budget: epsilon must stay <= 8")


def test_a_crash_after_the_charge_opens_the_same_and_charges_once(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    sums = federation.sums(round_, frames_of(nodes, round_), population.nodes)
    _, first = judged(round_, sums)  # charged; and then it is killed before it could publish
    ledger = (federated_files.holder() / "ledger.jsonl").read_bytes()
    _, second = judged(round_, sums)
    assert second == first
    assert (federated_files.holder() / "ledger.jsonl").read_bytes() == ledger
    (federated_files.holder() / "ledger.jsonl").write_bytes(ledger[:-10])  # a torn line was never charged
    assert Ledger(federated_files.holder() / "ledger.jsonl").openings == {}
    _, third = judged(round_, sums)
    assert third == first
    assert list(Ledger(federated_files.holder() / "ledger.jsonl").openings) == [1]


def test_a_node_seals_once(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    model = np.zeros(federation.LENGTH, np.float32)
    first = nodes[0].frames(round_, model, NOW_MS)
    again = federation.made(population.nodes[0], 0, population)  # killed before anything was sent, and started again
    assert again.frames(round_, model, NOW_MS) == first
    again.sent(1)
    assert again.frames(round_, model, NOW_MS) == []
    again.ended({1})
    assert Folder(federated_files.node(population.nodes[0])).of(1) is None
    assert federation.made(population.nodes[0], 0, population).frames(round_, model, NOW_MS) == []


def test_a_node_refuses_bad_terms(population: Population, nodes: list[Node], caplog: pytest.LogCaptureFixture) -> None:
    _, round_ = opened(population)
    terms: dict[str, Record] = {
        "population: must be p, got q": {"population": "q"},
        "quorum: must be >= 3, got 2": {"quorum": 2},
        "budget: epsilon must stay <= 8": {"node_sigma": 1},
        "key id: must be of a public key in": {"key_id": "0" * 16},
        "parameters: must be those of width": {"parameters": "0" * 16},
        "chunks: must be 1, got 2": {"chunks": 2},
    }
    for number, (said, changed) in enumerate(terms.items(), start=10):
        assert (
            nodes[0].frames(round_ | {"round": number} | changed, np.zeros(federation.LENGTH, np.float32), NOW_MS) == []
        )
        assert said in caplog.text
    assert nodes[0].frames(round_ | {"invited": []}, np.zeros(federation.LENGTH, np.float32), NOW_MS) == []


def test_a_node_outlives_its_app(population: Population, caplog: pytest.LogCaptureFixture) -> None:
    def train(arrays: Arrays, number: int) -> Arrays:
        if number == 1:
            raise ValueError("no data today")
        return arrays

    node = Node(population.nodes[0], population, train, federated_files.node(population.nodes[0]))
    _, round_ = opened(population)
    model = np.zeros(federation.LENGTH, np.float32)
    assert node.frames(round_, model, NOW_MS) == []
    assert "app: no data today" in caplog.text
    assert len(node.frames(round_ | {"round": 2}, model, NOW_MS)) == 1


def test_secrets_are_their_owners_alone(population: Population) -> None:
    secrets = [*federated_files.holder().glob("*.secret"), *federated_files.root().rglob("*s.json")]
    for path in [*secrets, *federated_files.root().rglob(federated_files.SECRET)]:
        assert os.stat(path).st_mode & 0o077 == 0, path
    before = (federated_files.node(population.nodes[0]) / federated_files.SECRET).read_bytes()
    provisioning.provision(6, "p", 3, 8.0, 1e-5)
    assert (federated_files.node(population.nodes[0]) / federated_files.SECRET).read_bytes() == before


def test_rotation_keeps_the_key_of_the_open_round(population: Population, nodes: list[Node]) -> None:
    _, round_ = opened(population)
    frames = frames_of(nodes, round_)
    assert provisioning.rotate() != population.key_id
    _, (told,) = judged(round_, federation.sums(round_, frames, population.nodes))
    assert told["status"] == "opened"
    provisioning.rotate()
    with pytest.raises(KeyError):
        of_home()._secrets[population.key_id]


def test_another_cohort_is_tried_when_a_node_spoilt_the_sum(population: Population) -> None:
    coordinator, _ = opened(population)
    for node in population.nodes:
        coordinator.rounds.hear(Told(topics.RECEIPTS, {"round": 1, "node": node, "chunks": 1, "as_of_ms": NOW_MS}))
    tried = []
    while (told := coordinator.next(NOW_MS))[0].topic == topics.COHORTS:
        cohort = told[0].record
        tried.append(cohort["nodes"])
        coordinator.rounds.hear(told[0])
        refused = {"round": 1, "attempt": cohort["attempt"], "epsilon": 0.0, "status": "refused", "reason": "tag: no"}
        coordinator.rounds.hear(Told(topics.AGGREGATES, refused))
    assert [sorted(set(population.nodes) - set(nodes)) for nodes in tried] == [
        [],
        *([name] for name in population.nodes),
    ]
    assert told[0].record["status"] == "aborted"
