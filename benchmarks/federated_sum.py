"""Ciphertexts summed per second: the job's numpy (headrace.udfs.federated.ciphertext) against TenSEAL's deserialise +
add loop.

Both start from the bytes that nodes send and end with the bytes of the sum, which are equal. "checked" is all that the
job does with a frame: parse, HMAC, check and add. It runs on one core; the ciphertexts differ, so the core's cache does
not hold them.
"""

from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.harness import Result, show_round, table
from headrace.edge.federated import bfv
from headrace.edge.federated.bfv import Adder, Encryptor
from headrace.udfs.federated import ciphertext, frame, packing
from headrace.udfs.federated.frame import Frame

CIPHERTEXTS, SEED = 1_000, 1
MAC_KEY = bytes(32)
UNIT = "ciphertexts/s"


def main(rounds: int) -> Result:
    bodies = encrypted(CIPHERTEXTS)
    frames = framed(bodies)
    adder = Adder()
    ways: dict[str, Callable[[], bytes]] = {
        "sum": lambda: ciphertext.add(bodies),
        "checked": lambda: ciphertext.add(checked(frames)),
        "TenSEAL": lambda: adder.add(bodies),
    }
    if len({way() for way in ways.values()}) != 1:
        raise RuntimeError("all sums must have the same bytes")
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        for name, way in ways.items():
            began = perf_counter()
            way()
            rates[name].append(CIPHERTEXTS / (perf_counter() - began))
        show_round(number, rounds, rates, UNIT)
    medians = {name: median(each) for name, each in rates.items()}
    table(UNIT, ("way", UNIT, "MB/s"), [(name, rate, rate * len(bodies[0]) / 1e6) for name, rate in medians.items()])
    loop = medians.pop("TenSEAL")
    conditions = {"ciphertexts": CIPHERTEXTS, "bytes each": len(bodies[0]), "rounds": rounds}
    return Result(
        "federated_sum", medians, {"TenSEAL": loop}, medians["sum"] / loop, "TenSEAL's loop", UNIT, conditions
    )


def encrypted(count: int) -> list[bytes]:
    encryptor, rng = Encryptor(bfv.generate()[0]), np.random.default_rng(SEED)
    return [encryptor.encrypt(rng.integers(-(1 << 40), 1 << 40, packing.SLOTS)) for _ in range(count)]


def framed(bodies: list[bytes]) -> list[bytes]:
    frames = (Frame(1, 0, 1, f"node-{at}", bytes(8), bytes(8), body) for at, body in enumerate(bodies))
    return [frame.encode(each, MAC_KEY) for each in frames]


def checked(frames: list[bytes]) -> Iterator[bytes]:
    for value in frames:
        read = frame.parse(value, b"1/0")
        if isinstance(read, frame.FrameFault) or not frame.is_authentic(value, MAC_KEY) or ciphertext.fault(read.body):
            raise RuntimeError(f"frame must be sound, got {read}")
        yield read.body
