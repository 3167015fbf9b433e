"""What a federated round costs on the wire and in time, by parameters, epsilon and nodes; against CKKS.

headrace.udfs.federated.plan chooses scale, noise and field width. A node's `protect` is measured as it is. Encryption,
sum and opening are measured for one chunk and multiplied, since chunks are alike. One core sums for all nodes. CKKS is
TenSEAL's 8192, [60, 40, 60], 2^40, a common setting; nothing is chosen there for noise or room, so only the sizes are
compared.
"""

import os
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import tenseal

from benchmarks.harness import Result, table
from headrace.edge.federated import bfv
from headrace.edge.federated.bfv import Decryptor, Encryptor
from headrace.udfs.federated import ciphertext, frame, packing, round_arithmetic
from headrace.udfs.federated.accountant import Budget
from headrace.udfs.federated.frame import Frame
from headrace.udfs.federated.plan import RoundPlan, plan

DIMENSIONS, NODES, EPSILONS = (10_000, 100_000, 1_000_000), (50, 1_000), (0.1, 1.0, 8.0, 10.0)
DELTA, ROUNDS = 1e-5, 10
SHOWN = (100_000, 50, 8.0)  # the case of the ratio
REPEATS = 20
COLUMNS = ("parameters", "nodes", "epsilon", "width", "bytes", "noise x", "protect s", "encrypt s", "sum s", "open s")


class Seconds(NamedTuple):
    """Of one chunk."""

    encrypt: float
    add: float  # of one node's
    open: float


def main() -> Result:
    chunk, peer = chunk_seconds(), ckks()
    cases = [case(d, nodes, epsilon, chunk) for d in DIMENSIONS for nodes in NODES for epsilon in EPSILONS]
    table(
        f"delta {DELTA:g}, {ROUNDS} rounds; bytes and seconds a parameter and a round",
        COLUMNS,
        [(*each.values(),) for each in cases],
    )
    shown = next(each for each in cases if (each["parameters"], each["nodes"], each["epsilon"]) == SHOWN)
    conditions = {"delta": DELTA, "rounds": ROUNDS, "seconds of a chunk": chunk._asdict(), "ratio's case": SHOWN}
    conditions["extrapolated"] = "encrypt, sum and open: seconds of a measured chunk x chunks (x nodes for sum)"
    ratio = peer["bytes"] / shown["bytes"]
    return Result(
        "federated_bytes",
        {"cases": cases},
        {"CKKS 8192": peer},
        ratio,
        "CKKS 8192 [60, 40, 60]",
        "bytes per parameter",
        conditions,
    )


def case(d: int, nodes: int, epsilon: float, chunk: Seconds) -> dict[str, Any]:
    planned = plan(d, 1.0, nodes, nodes, Budget(epsilon, DELTA), ROUNDS)
    chunks = planned.layout.chunks(d)
    return {
        "parameters": d,
        "nodes": nodes,
        "epsilon": epsilon,
        "width": planned.layout.width,
        "bytes": chunks * frame_bytes() / d,
        "noise x": planned.inflation,
        "protect s": protect_seconds(planned),
        "encrypt s": chunks * chunk.encrypt,
        "sum s": chunks * nodes * chunk.add,
        "open s": chunks * chunk.open,
    }


def frame_bytes() -> int:
    sent = Frame(1, 0, 1, "node-000001", bytes(8), bytes(8), bytes(ciphertext.BODY_BYTES))
    return len(frame.encode(sent, bytes(32)))


def protect_seconds(planned: RoundPlan) -> float:
    update = np.random.default_rng(1).standard_normal(planned.done.dimension)
    return seconds(lambda: round_arithmetic.protect(update, planned.done, b"seed", os.urandom), 3)


def chunk_seconds() -> Seconds:
    """Three fields of 15 bits; packing and unpacking are in it."""
    public, secret = bfv.generate()
    encryptor, decryptor, layout = Encryptor(public), Decryptor(secret), packing.layout(15)
    values, tag = np.random.default_rng(1).integers(-100, 100, layout.values()), np.zeros((1, packing.TAGS), np.int64)
    bodies = [encryptor.encrypt(packing.pack(values, layout, tag)[0]) for _ in range(500)]
    encrypt = seconds(lambda: encryptor.encrypt(packing.pack(values, layout, tag)[0]), REPEATS)
    add = seconds(lambda: ciphertext.add(bodies), REPEATS) / len(bodies)
    opening = seconds(lambda: packing.unpack(decryptor.decrypt(bodies[0])[None], layout, len(values)), REPEATS)
    return Seconds(encrypt, add, opening)


def ckks() -> dict[str, float]:
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    context.global_scale = 2**40
    numbers = np.random.default_rng(1).standard_normal(4096)
    body = tenseal.ckks_vector(context, numbers).serialize()
    other = tenseal.ckks_vector_from(context, body)
    return {
        "bytes": len(body) / len(numbers),
        "encrypt us": 1e6 * seconds(lambda: tenseal.ckks_vector(context, numbers).serialize(), REPEATS) / len(numbers),
        "sum us": 1e6 * seconds(lambda: other.add_(tenseal.ckks_vector_from(context, body)), REPEATS) / len(numbers),
        "open us": 1e6 * seconds(lambda: other.decrypt(), REPEATS) / len(numbers),
    }


def seconds(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return median(taken)
