"""Impressions per CPU-second of the bandit learner's maths, against a Sherman-Morrison loop in numpy.

Ours are the batches of the job: sums per arm (headrace.udfs.bandit.arms.partials) are merged with the earlier sums
(merge), and the posteriors of changed arms are solved and packed for Redis (solve, pack_posterior). In the job the JVM
does the first two steps (udfs/jvm/ArmSums), so this is numpy's time, not the job's. The loop updates A^-1, b and theta
of an arm at every impression, in O(d^2), and packs nothing. It ends with floats in memory, with rounding errors that
grow, and cannot take an impression back exactly. Each impression is one row; in the job an impression that is corrected
later makes three.
"""

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, show_round, table
from headrace.infra.settings import load
from headrace.udfs.bandit import arms
from headrace.udfs.bandit.arms import Floats, Posterior

ARMS, DIMENSIONS = (10, 1_000, 10_000), (16, 32)
IMPRESSIONS = 40_000
SEED, CLICKS = 1, 0.1
AGREES = 1e-9
UNIT = "impressions per CPU-second"


class Log(NamedTuple):
    arms: NDArray[np.int64]  # (n,)
    X: Floats  # (n, d)
    r: Floats  # (n,)


Way = Callable[[Log], dict[int, Posterior]]


def main(rounds: int) -> Result:
    settings = load()
    ridge, batch = settings.bandit.ridge, settings.flink.bundle_size
    ways: dict[str, Way] = {
        "ours": lambda log: batches(log, ridge, batch),
        "loop": lambda log: sherman_morrison(log, ridge),
    }
    rates, error = measure(ways, rounds)
    if error > AGREES:
        raise RuntimeError(f"theta must agree to {AGREES}, differs by {error}")
    ratios = {case: each["ours"] / each["loop"] for case, each in rates.items()}
    rows = [(case, *each.values(), ratios[case]) for case, each in rates.items()]
    table(UNIT, ("case", "ours", "loop", "ratio"), rows)
    ours = {case: each["ours"] for case, each in rates.items()}
    peers = {case: {"loop": each["loop"], "ratio": ratios[case]} for case, each in rates.items()}
    conditions = {"impressions": IMPRESSIONS, "batch": batch, "rounds": rounds, "largest difference of theta": error}
    return Result("bandit_sums", ours, peers, min(ratios.values()), "the loop, worst case", UNIT, conditions)


def measure(ways: dict[str, Way], rounds: int) -> tuple[dict[str, dict[str, float]], float]:
    """(Medians by case and way; the largest difference of any theta.) The ways take turns."""
    logs = {f"{k:,} arms, d = {d}": log(k, d, IMPRESSIONS) for d in DIMENSIONS for k in ARMS}
    rates: dict[str, dict[str, list[float]]] = {case: {name: [] for name in ways} for case in logs}
    error = 0.0
    for number in range(1, rounds + 1):
        for case, each in logs.items():
            found = {name: _timed(way, each, rates[case][name]) for name, way in ways.items()}
            error = max(error, difference(found["ours"], found["loop"]))
            show_round(number, rounds, rates[case], f"({case})")
    return {case: {name: median(each) for name, each in found.items()} for case, found in rates.items()}, error


def log(k: int, d: int, n: int) -> Log:
    """Contexts of a bias and d - 1 uniform numbers; a tenth of the impressions is clicked."""
    rng = np.random.default_rng(SEED)
    X = arms.quantise(np.column_stack([np.ones(n), rng.uniform(-1, 1, (n, d - 1))]))
    return Log(rng.integers(k, size=n), X, (rng.random(n) < CLICKS).astype(np.float64))


def batches(log: Log, ridge: float, batch: int) -> dict[int, Posterior]:
    """The posterior of each arm, after everything was merged and packed batch by batch."""
    sums: dict[int, bytes] = {}
    redis: dict[int, bytes] = {}
    for at in range(0, len(log.arms), batch):
        rows = slice(at, at + batch)
        names = log.arms[rows].tolist()
        first, statistics = arms.partials(names, log.X[rows], np.ones(len(names)), log.r[rows])
        changed = [names[row] for row in first.tolist()]
        for arm, packed in zip(changed, arms.pack(statistics), strict=True):
            sums[arm] = arms.merge([sums[arm], packed]) if arm in sums else packed
        posteriors = arms.solve(arms.unpack([sums[arm] for arm in changed]), ridge)
        redis |= zip(changed, arms.pack_posterior(posteriors), strict=True)
    every = arms.unpack_posterior(list(redis.values()))
    return {arm: Posterior(*each) for arm, each in zip(redis, zip(*every, strict=True), strict=True)}


def sherman_morrison(log: Log, ridge: float) -> dict[int, Posterior]:
    k, d = int(log.arms.max()) + 1, log.X.shape[1]
    A_inv, b, theta, n = np.tile(np.eye(d) / ridge, (k, 1, 1)), np.zeros((k, d)), np.zeros((k, d)), np.zeros(k)
    for arm, x, r in zip(log.arms.tolist(), log.X, log.r.tolist(), strict=True):
        A_inv_x = A_inv[arm] @ x
        A_inv[arm] -= np.outer(A_inv_x, A_inv_x) / (1 + x @ A_inv_x)
        b[arm] += r * x
        theta[arm] = A_inv[arm] @ b[arm]
        n[arm] += 1
    return {int(arm): Posterior(theta[arm], A_inv[arm], n[arm]) for arm in np.unique(log.arms)}


def difference(ours: dict[int, Posterior], theirs: dict[int, Posterior]) -> float:
    """The largest of any theta."""
    return max(float(np.abs(ours[arm].theta - theirs[arm].theta).max()) for arm in theirs)


def _timed(way: Way, log: Log, rates: list[float]) -> dict[int, Posterior]:
    began = process_time()
    found = way(log)
    rates.append(len(log.arms) / (process_time() - began))
    return found
