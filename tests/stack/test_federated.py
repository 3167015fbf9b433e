"""Federated rounds on a real stack: sums are exact with any other traffic; kills change nothing and cost nothing."""

import math
import os
import random
import re
import shutil
import subprocess
import time
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from headrace.edge.federated import bfv, coordinator, provisioning
from headrace.edge.federated.channel import SCHEMAS
from headrace.edge.federated.coordinator import RoundsWish
from headrace.edge.federated.provisioning import Population
from headrace.infra import federated_files, paths
from headrace.infra.settings import load
from headrace.jobs.batch.families.federated import read
from headrace.schemas import topics
from headrace.udfs.federated import frame, packing
from tests import topic
from tests.edge.federated.federation import update_of
from tests.stack import dag_run, federating, memory
from tests.stack.crashes import supervised
from tests.stack.federating import JOB, KEY_HOLDER, MODEL, Processes
from tests.stack.running import Stack, wait
from tests.streams.clicks import Record as Sent

pytestmark = pytest.mark.stack
LENGTH = 20_000  # two parts of a record, and several chunks
BASE64 = re.compile(rb'"(?:ciphertext|values|parameters|moments)":"([^"]+)"')
WISH = RoundsWish(MODEL, 1, clip=50.0, quorum=3, epsilon=8.0, deadline_ms=12_000, grace_ms=4_000)


@pytest.fixture
def federated(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("HEADRACE_FEDERATED__HOLD_MS", "1000")
    monkeypatch.setenv("HEADRACE_FLINK__IDLE_TIMEOUT_S", "1")
    for folder in (federated_files.root(), paths.home() / "plain"):
        shutil.rmtree(folder, ignore_errors=True)
    return replace(stack, settings=load(), job_name=JOB)


def provisioned(stack: Stack, count: int, k: int = 3) -> Population:
    population = provisioning.provision(count, "p", k, math.inf, 1e-5)
    stack.submit("--state-backend", "rocksdb")
    return population


def assert_exact(stack: Stack, number: int, names: list[str]) -> None:
    """Checks that the opened integers are the sums of exactly these nodes."""
    kafka = stack.settings.kafka
    assert federating.cohort(kafka, number) == names
    parts = federating.opened(kafka, number)
    assert {part["nodes"] for part in parts} == {len(names)}
    np.testing.assert_array_equal(federating.total(parts), federating.plain_sum(names, number))


class Forger:
    """Makes frames of a node as the node would never send them."""

    def __init__(self, round_: dict[str, Any], name: str) -> None:
        self.round, self.name = round_, name
        keys = msgspec.json.decode(
            (federated_files.node(name) / federated_files.SECRET).read_bytes(), type=dict[str, str]
        )
        self.mac = bytes.fromhex(keys["mac"])
        public = federated_files.public_key(round_["key_id"]).read_bytes()
        self.body = bfv.Encryptor(public).encrypt(np.zeros(packing.SLOTS, np.int64))

    def frame(self, mac: bytes | None = None, key: bytes | None = None, **changed: Any) -> Sent:
        told = {
            "round": self.round["round"], "chunk": 0, "chunks": self.round["chunks"], "node": self.name,
            "key_id": bytes.fromhex(self.round["key_id"]), "parameters": bytes.fromhex(self.round["parameters"]),
            "body": self.body,
        }  # fmt: skip
        made = frame.Frame(**(told | changed))
        return Sent(key or frame.kafka_key(made.round, made.chunk), frame.encode(made, mac or self.mac))


def bad_frames(round_: dict[str, Any], hostile: str, honest: str, stranger: str) -> dict[str, list[Sent]]:
    """Returns bad frames by the reason that each must be refused for."""
    forger, key = Forger(round_, hostile), frame.kafka_key(round_["round"], 0)
    size = frame.BYTES_MAX + 1
    return {
        "too long": [Sent(key, b"HRF1" + bytes(size))],
        "too short": [Sent(key, b"HRF1")],
        "not a frame": [Sent(key, bytes(200))],
        "wrong key": [forger.frame(key=b"7/7")],
        "unknown node": [forger.frame(node="node-99999")],
        "wrong MAC": [forger.frame(mac=bytes(32)), forger.frame(node=honest)],
        "bad ciphertext": [forger.frame(body=b"\xff" * len(forger.body)), forger.frame(body=forger.body[:-8])],
        "wrong key id": [forger.frame(key_id=bytes(8))],
        "wrong parameters": [forger.frame(parameters=bytes(8))],
        "wrong chunks": [forger.frame(chunks=round_["chunks"] + 1)],
        "not invited": [Forger(round_, stranger).frame()],
        "second frame": [Forger(round_, honest).frame()],
        "no round": [forger.frame(round=999)],
    }


def test_a_round_is_exact_whatever_else_arrives(federated: Stack, tmp_path: Path) -> None:
    """9 nodes: 5 are honest, one sends a chunk too few, one lies, one comes late, one is not invited."""
    kafka = federated.settings.kafka
    population = provisioned(federated, 9)
    with (
        federating.processes(federated, holder=KEY_HOLDER),
        federating.coordinating(federated, WISH._replace(sample=8), population, LENGTH) as running,
    ):
        federating.until(lambda: running.coordinator.rounds.current(MODEL) is not None, running.step)
        round_ = running.coordinator.rounds.current(MODEL)
        assert round_
        invited: list[str] = round_["invited"]
        (stranger,) = set(population.nodes) - set(invited)
        honest = invited[:5]
        short, hostile, late = invited[5:]
        everybody = {each.name: each for each in federating.nodes(population)}
        with federating.sending(federated, [everybody[name] for name in honest]) as sending:
            receipts = running.coordinator.rounds.receipts[1]
            federating.until(lambda: len(receipts) == 5, sending.step, running.step)
        bad = bad_frames(round_, hostile, honest[0], stranger)
        topic.send(kafka, topics.GRADIENTS, [each for frames in bad.values() for each in frames])
        topic.send(kafka, topics.GRADIENTS, [Forger(round_, short).frame()])
        again = next(each for each in topic.read(kafka, topics.GRADIENTS) if each.key == frame.kafka_key(1, 0))
        topic.send(kafka, topics.GRADIENTS, [Sent(again.key, again.value)])
        wait(lambda: time.time() * 1000 > round_["deadline_ms"], 30, lambda: "")
        topic.send(kafka, topics.GRADIENTS, [Forger(round_, late).frame()])
        federating.until(running.coordinator.is_done, running.step)
        assert_exact(federated, 1, honest)
        assert re.search(r"frames_repeated\{.*\} 1\.0", federated.metrics())
        below_the_quorum(federated, running, [everybody[name] for name in honest[:2]])
        topic.send(kafka, topics.GRADIENTS, [Forger(round_, honest[1]).frame()])
        expected = sorted([*(reason for reason, frames in bad.items() for _ in frames), "late", "round over"])
        wait(lambda: sorted(federating.reasons(kafka)) == expected, 30, lambda: f"{sorted(federating.reasons(kafka))}")
        if paths.python("edge").exists():
            stock_apps(federated, running, honest[2:], tmp_path)
    assert federated.restarts() == 0


def below_the_quorum(federated: Stack, running: coordinator.RunningCoordinator, members: list[Any]) -> None:
    """Runs another round, in which two nodes take part: nothing is opened or charged."""
    running.coordinator.wish = WISH._replace(rounds=2, deadline_ms=8_000)
    with federating.sending(federated, members) as sending:
        known = running.coordinator.rounds.rounds
        federating.until(lambda: 2 in known and known[2]["status"] != "open", sending.step, running.step)
    assert known[2]["status"] == "aborted"
    assert known[2]["reason"] == "quorum: must be >= 3 nodes a bucket, got 2"
    assert federating.opened(federated.settings.kafka, 2) == []
    assert [each["round"] for each in federating.ledger()] == [1]


def stock_apps(federated: Stack, running: coordinator.RunningCoordinator, names: list[str], folder: Path) -> None:
    """Runs a round in which three nodes run Flower's quickstart, unchanged, each in a process as on a device."""
    running.coordinator.wish = WISH._replace(rounds=2, epsilon=None, inflation=1 + 1e-9, deadline_ms=40_000)
    (folder / "quickstart.py").write_text(QUICKSTART)
    before = federating.model(federated.settings.kafka, 1)
    told = ["--app", "quickstart:app", "--folder", str(folder), "--set", "lr=0.25"]
    commands = {name: [*KEY_HOLDER[:2], "node", name, *told] for name in names}
    receipts = running.coordinator.rounds.receipts[3]
    with federating.processes(federated, **commands):
        federating.until(lambda: len(receipts) == len(names), running.step)
        running.coordinator.wish = running.coordinator.wish._replace(grace_ms=-40_000)  # nobody else will come
        federating.until(running.coordinator.is_done, running.step)
    round_ = running.coordinator.rounds.rounds[3]
    assert federating.cohort(federated.settings.kafka, 3) == sorted(names)
    learnt = federating.model(federated.settings.kafka, 2) - before
    assert np.abs(learnt - 0.25).max() < 1e-5 + 1 / round_["scale"]


@pytest.mark.parametrize("count", [50, pytest.param(1_000, marks=pytest.mark.soak)])
def test_fedavg_is_flowers(federated: Stack, tmp_path: Path, count: int) -> None:
    """In half steps, without noise; Flower's own aggregation in its own environment, where that is installed."""
    population = provisioned(federated, count, k=30)
    wish = WISH._replace(quorum=30, rate=0.5, epsilon=None, inflation=1 + 1e-9, rounds=2, deadline_ms=600_000)
    members = federating.nodes(population)
    with (
        federating.processes(federated, holder=KEY_HOLDER),
        federating.coordinating(federated, wish, population, LENGTH) as running,
        federating.sending(federated, members) as sending,
    ):
        federating.until(running.coordinator.is_done, sending.step, running.step, timeout_s=120 + count)
        round_ = running.coordinator.rounds.rounds[1]
    for number in (1, 2):
        assert_exact(federated, number, population.nodes)
    quantum = 1 / round_["scale"]  # a node's rounding, in the model's units
    after = federating.model(federated.settings.kafka, 1)
    assert np.abs(2 * after - flowers(tmp_path, count)).max() < 1e-6 + quantum
    np.testing.assert_allclose(federating.model(federated.settings.kafka, 2), 2 * after, atol=1e-5 + 2 * quantum)
    assert federated.restarts() == 0


@pytest.mark.soak
def test_the_median_of_buckets(federated: Stack) -> None:
    """Three buckets, opened together."""
    population = provisioned(federated, 9)
    wish = WISH._replace(buckets=True, epsilon=None, inflation=1 + 1e-9, deadline_ms=60_000)
    members = federating.nodes(population)
    with (
        federating.processes(federated, holder=KEY_HOLDER),
        federating.coordinating(federated, wish, population, LENGTH) as running,
        federating.sending(federated, members) as sending,
    ):
        federating.until(running.coordinator.is_done, sending.step, running.step)
    kafka = federated.settings.kafka
    found = {each["bucket"]: each["nodes"] for each in federating.records(kafka, topics.COHORTS)}
    assert sorted(node for nodes in found.values() for node in nodes) == population.nodes
    parts = federating.opened(kafka, 1)
    means = []
    for bucket, nodes in found.items():
        total = federating.total([part for part in parts if part["bucket"] == bucket])
        np.testing.assert_array_equal(total, federating.plain_sum(nodes, 1))
        means.append(np.mean([update_of(population.nodes.index(node), LENGTH) for node in nodes], axis=0))
    assert np.abs(federating.model(kafka, 1) - np.median(means, axis=0)).max() < 1e-5


QUICKSTART = """
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(msg: Message, context: Context):
    ndarrays = msg.content["arrays"].to_numpy_ndarrays()
    model_record = ArrayRecord([array + float(context.run_config["lr"]) for array in ndarrays])
    metric_record = MetricRecord({"num-examples": 1})
    return Message(content=RecordDict({"arrays": model_record, "metrics": metric_record}), reply_to=msg)
"""
FLOWERS = """
import sys, numpy as np
from flwr.server.strategy.aggregate import aggregate
trained = np.load(sys.argv[1])
np.save(sys.argv[2], aggregate([([update], 10) for update in trained])[0])
"""


def flowers(folder: Path, count: int) -> Any:
    """Returns the mean of what the nodes have learnt, by Flower."""
    trained = np.array([update_of(n, LENGTH) for n in range(count)]).astype(np.float32)
    edge = paths.python("edge")
    if not edge.exists():
        return trained.mean(axis=0)
    np.save(folder / "trained.npy", trained)
    subprocess.run([edge, "-c", FLOWERS, folder / "trained.npy", folder / "mean.npy"], check=True)
    return np.load(folder / "mean.npy")


TARGETS = ("taskmanager", "holder", "coordinator", "nodes")
PHASES = (topics.ROUNDS, topics.RECEIPTS, topics.COHORTS, topics.SUMS)


def test_kills_in_mid_round_change_nothing_and_cost_nothing(federated: Stack, seed: int) -> None:
    """Each process is killed once, in a round of its own, when the round has come so far."""
    rng = random.Random(seed)
    population = provisioned(federated, 4)
    plan = list(zip(rng.sample(TARGETS, 4), rng.sample(PHASES, 4), strict=True))[: 4 if seed > 1 else 2]
    if seed <= 1:
        plan = [(target, rng.choice(PHASES)) for target in (TARGETS[:2], TARGETS[2:])[seed]]
    initial = federated_files.root() / "initial.npy"
    np.save(initial, np.zeros((LENGTH // 4, 4), np.float32))
    command = [
        *KEY_HOLDER[:2], "coordinator", "--model", MODEL, "--rounds", f"{len(plan)}", "--clip", "50", "--quorum", "3",
        "--epsilon", "8", "--deadline-s", "60", "--initial", str(initial),
    ]  # fmt: skip
    members = federating.node_process([0, 1, 2, 3])
    with federating.processes(federated, holder=KEY_HOLDER, coordinator=command, nodes=members) as running:
        for number, (target, phase) in enumerate(plan, start=1):
            wait(lambda: has(federated, phase, number), 120, lambda: f"round {number} has no {phase}")  # noqa: B023
            time.sleep(rng.uniform(0, 0.5))
            kill(running, target)
        wait(lambda: closed(federated) == len(plan), 180, lambda: f"{closed(federated)} of {len(plan)} rounds are over")
        if seed == 0:
            assert_secrets_stay(federated, running, population)
        over = len(plan) if seed != 1 else one_more_by_airflow(len(plan) + 1)
    kafka = federated.settings.kafka
    for number in range(1, over + 1):
        assert_exact(federated, number, population.nodes)
    entries = federating.ledger()
    assert [entry["round"] for entry in entries] == list(range(1, over + 1))
    assert federating.opened(kafka, over)[0]["epsilon"] == pytest.approx(entries[-1]["epsilon"])
    assert len(federating.model(kafka, over)) == LENGTH
    candidate = read(kafka, MODEL)  # what the night fuses
    assert (candidate.version, candidate.nodes, candidate.factors.shape) == (over, 4, (LENGTH // 4, 4))
    assert candidate.noise > 0
    assert set(federating.reasons(kafka)) <= {"round over"}  # what a node sent again, after the end


def one_more_by_airflow(rounds: int) -> int:
    """Runs a round by the DAG, and another that is beyond the budget and refused at once."""
    if not paths.python("airflow").exists():
        return rounds - 1
    terms = {"model": MODEL, "clip": 50, "quorum": 3, "epsilon": 8}
    done = dag_run.run("federated_round", **terms, rounds=rounds)
    assert done.tasks == {"rounds": ["success", 1]}, done.said
    assert f"{rounds} of {rounds} rounds of {MODEL} are over" in done.said
    provisioning.provision(4, "p", 3, 0.1, 1e-5)
    done = dag_run.run("federated_round", **terms, rounds=rounds + 1)
    assert done.tasks == {"rounds": ["failed", 1]}, done.said
    assert "refused: headrace: no round begins: epsilon must stay <= 0.1" in done.said
    return rounds


def has(stack: Stack, name: str, number: int) -> bool:
    return any(record["round"] == number for record in federating.records(stack.settings.kafka, name))


def closed(stack: Stack) -> int:
    over = {
        each["round"] for each in federating.records(stack.settings.kafka, topics.ROUNDS) if each["status"] == "closed"
    }
    return len(over)


def kill(running: Processes, target: str) -> None:
    if target == "taskmanager":
        os.kill(supervised(target), 9)
    else:
        running.kill(target)
        running.start(target)


def assert_secrets_stay(federated: Stack, running: Processes, population: Population) -> None:
    """Checks that the secret key is only in the holder's memory, updates only in the nodes', none in a topic."""
    secret = (federated_files.holder() / f"{population.key_id}.secret").read_bytes()
    integers = np.load(federating.plain(population.nodes[0], 1)).tobytes()
    needles = {"secret key": secret[len(secret) // 2 :][:64], "integers": integers[4_000:4_064]}
    needles["update"] = update_of(0, LENGTH).tobytes()[4_000:4_064]
    for name, needle in needles.items():
        with memory.canary(needle) as pid:
            assert memory.held(pid, needles) == {name}
    assert "secret key" in memory.held(running.running["holder"].pid, needles)
    others = {running.running["coordinator"].pid, running.running["nodes"].pid}
    for program in ("taskmanager", "jobmanager", "kafka"):
        root = psutil.Process(supervised(program))
        others |= {each.pid for each in [root, *root.children(recursive=True)]}
    for pid in others - {running.running["nodes"].pid}:
        assert memory.held(pid, needles) == set(), pid
    assert "secret key" not in memory.held(running.running["nodes"].pid, needles)
    assert not {name for name in memory.held(running.running["holder"].pid, needles) if name != "secret key"}
    for name in (topics.GRADIENTS, *SCHEMAS, topics.DEAD_LETTERS):
        for record in topic.read(federated.settings.kafka, name):
            told = (record.value or b"") + b"".join(map(b64decode, BASE64.findall(record.value or b"")))
            assert not {needle for needle in needles.values() if needle in told}
