"""Fold-ins per CPU-second with the 20 best of 2,000 to 500,000 items, against the plain scan: X Y', argpartition, sort.

Both fold the users in by the same solve (headrace.udfs.factors.als) and leave out seen items. Ours takes the list from
headrace.udfs.factors.top_n, whose order is that of float64 scores. The plain scan ranks by float32 scores, so it may
swap near equals; the benchmark measures how many of its items ours also has. `job` is ours to the end, as the stream
does it: packed histories in, JSON with a reason for each item out (headrace.udfs.recommenders.live_lists.lists).

FAISS is asked for 70 items, and the seen ones are left out: IndexFlatIP is exact in float32, IndexIVFFlat looks at some
cells only. Item factors are random, of uneven lengths as trained ones are; an inverted file has a harder time with them
than with trained ones.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import faiss
import numpy as np

from benchmarks.harness import Result, show_round, table
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Int, Real, Rows
from headrace.udfs.factors.top_n import Excluded, longest, top_n
from headrace.udfs.history import EVENT
from headrace.udfs.recommenders import live_lists
from headrace.udfs.recommenders.als_scorer import AlsScorer
from headrace.udfs.recommenders.live_lists import Serving

SIZES, FACTORS, HISTORY, N = (2_000, 50_000, 500_000), 64, 50, 20
BATCHES = {1: 30, 64: 3}  # users at a time -> times in a round
PROBED, CELL = 32, 250  # cells that an inverted file looks at, and items in one
SEED, T_MS = 1, 1_700_000_000_000
OBJECTIVE = als.ials()
HALF_LIFE_MS = 90 * 86_400_000.0


Way = Callable[["Served", "Batch"], Any]


class Served(NamedTuple):
    serving: Serving
    basis: als.Basis
    Y: Real
    longest_y: float


class Batch(NamedTuple):
    rows: Rows
    seen: Excluded
    packed: list[bytes]


def main(rounds: int) -> Result:
    faiss.omp_set_num_threads(1)
    ours, peers, rows = {}, {}, []
    for size in SIZES:
        serving = catalogue(size)
        others = {"scan": scanned} | indexes(serving)
        for users, times in BATCHES.items():
            case = f"{size:,} items, {users} users at a time"
            batches = [batch(serving, users, seed) for seed in range(times)]
            rates = _rates(serving, batches, {"ours": ranked, "job": listed} | others, rounds, case)
            same = {name: _same(serving, batches, way) for name, way in others.items()}
            ours[case] = {name: rates[name] for name in ("ours", "job")}
            peers[case] = {name: {"rate": rates[name], "same items": same[name]} for name in others}
            rows.append((case, *(rates[name] for name in ("ours", *others, "job")), same["faiss ivf"]))
    table(
        "Fold-ins per CPU-second with the 20 best",
        ("case", "ours", "scan", "faiss flat", "faiss ivf", "job, with JSON", "ivf: same items"),
        rows,
    )
    worst = min(ours[case]["ours"] / max(each["rate"] for each in peers[case].values()) for case in ours)
    conditions = {"factors": FACTORS, "history": HISTORY, "n": N, "rounds": rounds, "probed": PROBED, "cell": CELL}
    against = "the fastest of a numpy scan, FAISS flat and FAISS IVF, worst case"
    return Result("fold_in", ours, peers, worst, against, "fold-ins per CPU-second", conditions)


def _same(serving: Served, batches: list[Batch], way: Way) -> float:
    return float(np.mean([agreement(ranked(serving, each), way(serving, each)) for each in batches]))


def _rates(serving: Served, batches: list[Batch], ways: dict[str, Way], rounds: int, case: str) -> dict[str, float]:
    """Medians of the rounds; in each the ways take turns batch by batch."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1, rounds + 1):
        took_s = dict.fromkeys(ways, 0.0)
        for each in batches:
            for name, way in ways.items():
                began = process_time()
                way(serving, each)
                took_s[name] += process_time() - began
        for name in ways:
            rates[name].append(sum(len(each.packed) for each in batches) / took_s[name])
        show_round(number, rounds, rates, f"({case})")
    return {name: median(each) for name, each in rates.items()}


def catalogue(size: int) -> Served:
    rng = np.random.default_rng(SEED)
    Y = rng.standard_normal((size, FACTORS), np.float32) * rng.lognormal(-2.0, 0.5, (size, 1)).astype(np.float32)
    parameters = {"half_life_ms": HALF_LIFE_MS, "rating_max": 5.0}
    scorer = AlsScorer([f"item-{n}" for n in range(size)], Y, OBJECTIVE)
    return Served(live_lists.serving("benchmark", scorer, parameters), als.basis(Y), Y, longest(Y))


def batch(serving: Served, users: int, seed: int) -> Batch:
    """Each user viewed 50 items, an hour apart."""
    rng = np.random.default_rng([SEED, seed])
    items = np.array([np.sort(rng.choice(len(serving.Y), HISTORY, replace=False)) for _ in range(users)])
    hours = np.arange(HISTORY)
    strengths = np.exp2((hours - HISTORY + 1) * 3_600_000 / HALF_LIFE_MS)
    rows = Rows(np.arange(users + 1) * HISTORY, items.ravel(), np.tile(strengths, users))
    seen = Excluded(np.repeat(np.arange(users), HISTORY), items.ravel())
    return Batch(rows, seen, [_packed(serving, each, T_MS + 3_600_000 * hours) for each in items])


def _packed(serving: Served, items: Int, t_ms: Int) -> bytes:
    view = live_lists.ACTIONS.index("view")
    named = [live_lists.named(serving.serving.items[item], None).encode() for item in items.tolist()]
    return b"".join(
        EVENT.pack(EVENT.size - 2 + len(item), event, t, 1, 0, view) + item
        for event, (item, t) in enumerate(zip(named, t_ms.tolist(), strict=True))
    )


def ranked(serving: Served, batch: Batch) -> Int:
    """Places of the items, (users, N)."""
    X = als.solve(serving.basis, batch.rows, OBJECTIVE)
    return top_n(X, serving.Y, N, batch.seen, serving.longest_y).items


def scanned(serving: Served, batch: Batch) -> Int:
    X = als.solve(serving.basis, batch.rows, OBJECTIVE)
    scores = X.astype(np.float32) @ serving.Y.T
    scores[batch.seen.users, batch.seen.items] = -np.inf
    best = np.argpartition(scores, -N, axis=1)[:, -N:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def indexes(serving: Served) -> dict[str, Way]:
    flat = faiss.IndexFlatIP(FACTORS)
    flat.add(serving.Y)
    cells = faiss.IndexIVFFlat(faiss.IndexFlatIP(FACTORS), FACTORS, len(serving.Y) // CELL, faiss.METRIC_INNER_PRODUCT)
    cells.train(serving.Y)
    cells.add(serving.Y)
    cells.nprobe = PROBED
    return {"faiss flat": partial(searched, flat), "faiss ivf": partial(searched, cells)}


def searched(index: Any, serving: Served, batch: Batch) -> Int:
    X = als.solve(serving.basis, batch.rows, OBJECTIVE)
    _, found = index.search(X.astype(np.float32), N + HISTORY)
    seen = batch.rows.columns.reshape(len(X), HISTORY)
    return np.array([items[~np.isin(items, own)][:N] for items, own in zip(found, seen, strict=True)])


def listed(serving: Served, batch: Batch) -> list[bytes | None]:
    return live_lists.lists(serving.serving, batch.packed, [T_MS] * len(batch.packed), N)


def agreement(left: Int, right: Int) -> float:
    """Share of the items of one that the other holds too."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(left, right, strict=True)]))
