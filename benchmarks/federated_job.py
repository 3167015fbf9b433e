"""Ciphertexts per second of the job, from Kafka to the sums, against TenSEAL's loop: deserialise and add.

Frames of 64 nodes with 192 chunks each are in Kafka before the job begins. "kept" counts those checked and in state, of
the second half: the JVM spends the first on compiling. "summed" lasts from the cohort to the last sum in Kafka, with a
checkpoint of 1 s. Both together are the job's figure. The loop reads the same number of bytes from memory, keeps
nothing, checks nothing, and is lost with its process.
"""

import os
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaProducer

from benchmarks import stack
from benchmarks.federated_sum import encrypted
from benchmarks.harness import Result, show_round, table
from headrace.edge.federated import bfv, provisioning
from headrace.edge.federated.bfv import Adder
from headrace.edge.federated.channel import Told, TopicFollower, Writer
from headrace.infra import federated_files
from headrace.infra.clients.kafka_topics import admin
from headrace.infra.settings import Settings
from headrace.schemas import topics
from headrace.udfs.federated import frame, packing
from headrace.udfs.federated.ciphertext import Q

JOB, NODES, CHUNKS, BODIES = "federated", 64, 192, 256
FRAMES = NODES * CHUNKS
WARM = 0.5  # share of the frames that warms the JVM up
TARGET = 0.5
UNIT = "ciphertexts/s"
POLL_S = 0.1  # each page of metrics costs the TaskManager 10 ms
KEPT = r"^[^#].*_headrace_frames_accepted\{"


def main(rounds: int) -> Result:
    os.environ["HEADRACE_FLINK__CHECKPOINT_INTERVAL_S"] = "1"
    settings = stack.up()
    bodies = encrypted(BODIES)
    rates: dict[str, list[Any]] = {"kept": [], "summed": [], "job": [], "TenSEAL": []}
    for number in range(1, rounds + 1):
        kept_s, summed_s = measure(settings, number)
        rates["kept"].append(round(FRAMES / kept_s))
        rates["summed"].append(round(FRAMES / summed_s))
        rates["job"].append(round(FRAMES / (kept_s + summed_s)))
        rates["TenSEAL"].append(round(loop(bodies)))
        show_round(number, rounds, rates, UNIT)
    medians = {name: median(each) for name, each in rates.items()}
    table(UNIT, ("", UNIT), list(medians.items()))
    peer = medians.pop("TenSEAL")
    conditions = {"nodes": NODES, "chunks": CHUNKS, "slots": 1, "state": "rocksdb", "rounds": rounds, "target": TARGET}
    ratio = round(medians["job"] / peer, 3)
    return Result("federated_job", medians, {"TenSEAL": peer}, ratio, "TenSEAL's loop", UNIT, conditions)


def loop(bodies: list[bytes]) -> float:
    adder, began_s = Adder(), time.perf_counter()
    adder.add(bodies)
    return len(bodies) / (time.perf_counter() - began_s)


def measure(settings: Settings, seed: int) -> tuple[float, float]:
    """Seconds to keep all frames, at the rate of those after the first; and to sum them."""
    empty(settings)
    population = provisioning.provision(NODES, f"job-{time.time_ns()}", NODES // 2, 8.0, 1e-5)
    number, writer = time.time_ns() // 1_000_000, Writer(settings.kafka, "coordinator")
    writer.write([Told(topics.ROUNDS, terms(number, population))])
    producer = KafkaProducer(**settings.kafka.client(), acks="all", max_request_size=1 << 20)
    for key, value in frames(number, population, seed):
        producer.send(topics.GRADIENTS, key=key, value=value)
    producer.close()
    with stack.job(settings, "rocksdb", 1, name=JOB):
        stack.wait(lambda: stack.metric(settings, KEPT) >= FRAMES * WARM, "the first frames", poll_s=POLL_S)
        begun, began_s = stack.metric(settings, KEPT), time.perf_counter()
        stack.wait(lambda: stack.metric(settings, KEPT) >= FRAMES, "all frames", poll_s=POLL_S)
        kept_s = (time.perf_counter() - began_s) * FRAMES / max(FRAMES - begun, 1)
        follower = TopicFollower(settings.kafka, [topics.SUMS])
        follower.catch_up()
        began_s, found = time.perf_counter(), 0
        cohort = {"round": number, "attempt": 0, "bucket": 0, "buckets": 1, "chunks": CHUNKS, "nodes": population.nodes}
        writer.write([Told(topics.COHORTS, cohort)])
        while found < CHUNKS:
            found += len(follower.poll(20))
        summed_s = time.perf_counter() - began_s
        follower.close()
    writer.write([Told(topics.ROUNDS, terms(number, population) | {"status": "closed"})])
    writer.close()
    return kept_s, summed_s


def empty(settings: Settings) -> None:
    """No frames of an earlier measurement."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    with admin(settings.kafka) as client:
        parts = [TopicPartition(topics.GRADIENTS, index) for index in range(stack.PARTITIONS)]
        ends = client.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST))
        client.delete_records({part: end.offset for part, end in ends.items()})


def terms(number: int, population: provisioning.Population) -> dict[str, Any]:
    layout = packing.layout(9)
    now_ms = time.time_ns() // 1_000_000
    return {
        "round": number, "status": "open", "model": "job", "version": 0, "population": population.name,
        "length": layout.values() * CHUNKS, "chunks": CHUNKS, "clip": 1.0, "scale": 1.0, "node_sigma": 1,
        "quorum": NODES, "width": 9, "buckets": 1, "parameters": bfv.parameters(layout).hex(),
        "key_id": population.key_id, "rule": "fedavg", "invited": population.nodes, "opened_ms": now_ms,
        "deadline_ms": now_ms + 600_000,
    }  # fmt: skip


def frames(number: int, population: provisioning.Population, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Random ciphertexts: a sum takes as long whatever they hold."""
    rng = np.random.default_rng(seed)
    parameters = bfv.parameters(packing.layout(9))
    for name in population.nodes:
        secret = msgspec.json.decode(
            (federated_files.node(name) / federated_files.SECRET).read_bytes(), type=dict[str, str]
        )
        for chunk in range(CHUNKS):
            body = rng.integers(0, Q, 2 * packing.SLOTS, dtype=np.uint64).astype("<u8").tobytes()
            made = frame.Frame(number, chunk, CHUNKS, name, bytes.fromhex(population.key_id), parameters, body)
            yield frame.kafka_key(number, chunk), frame.encode(made, bytes.fromhex(secret["mac"]))
