"""NDCG@10 of federated collaborative filtering on MovieLens 100K by epsilon, beside central ALS and popularity.

Each user is a node. In this process, with the rounds' maths: users' vectors solved on the node, updates clipped, the
sum noised as much as the plan says, folded by FedAdam. Where it differs from a real round: the sum is taken in float64,
with the rounding's and the noise's variance drawn as one Gaussian. Each user's newest fifth is held out; lists are of
all items that the user has not rated before. Seeds change the start and the noise.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, console, table
from edge import datasets
from udfs import als, federated
from udfs.accountant import Budget
from udfs.plan import plan

Float = NDArray[np.float64]
DATA = "HEADRACE_DATA"
EPSILONS = (0.1, 1.0, 8.0, 10.0, None)
DELTA, SEEDS, ROUNDS, FACTORS = 1e-5, 5, 20, 8
MARKS = (1, 2, 5, 10, ROUNDS)
HELD_OUT, N = 0.2, 10
OBJECTIVE = als.ials(alpha=1.0, reg=0.01, unobserved=0.1)
RULE = federated.FedAdam(rate=0.3)
CLIP, SMALLEST_COHORT = 0.3, 0.8  # of an update; share of the nodes
TARGET = 0.80


class Split(NamedTuple):
    train: als.Rows
    held: list[set[int]]
    items: int


def main() -> Result:
    split = read(Path(os.environ.get(DATA, ".")))
    curves = {_name(epsilon): [list(learn(split, epsilon, seed)) for seed in range(SEEDS)] for epsilon in EPSILONS}
    last = {name: [curve[-1] for curve in runs] for name, runs in curves.items()}
    means = {name: float(np.mean(runs)) for name, runs in last.items()}
    peers = {"central ALS": central(split), "popularity": popularity(split)}
    spread = {name: round(float(np.std(runs)), 4) for name, runs in last.items()}
    table("NDCG@10", ("", "mean", "sd"), [(n, round(m, 4), spread[n]) for n, m in means.items()])
    for name, value in peers.items():
        console.print(f"{name}: {value:.4f}")
    by_rounds = {name: np.mean(runs, axis=0).round(4).tolist() for name, runs in curves.items()}
    ratio = means[_name(8.0)] / means[_name(None)]
    conditions = {"data": "MovieLens 100K", "nodes": len(split.held), "rounds": ROUNDS, "factors": FACTORS}
    conditions |= {
        "seeds": SEEDS,
        "clip": CLIP,
        "delta": DELTA,
        "sd": spread,
        "by_rounds": {"after": MARKS} | by_rounds,
        "target": TARGET,
    }
    ours = {name: round(mean, 4) for name, mean in means.items()}
    return Result("federated_quality", ours, peers, round(ratio, 3), "the same without noise", "NDCG@10", conditions)


def _name(epsilon: float | None) -> str:
    return "no noise" if epsilon is None else f"epsilon {epsilon:g}"


def read(folder: Path) -> Split:
    """Users' ratings in time order; an item's rating counts as having liked to see it."""
    users: dict[str, list[int]] = {}
    items: dict[str, int] = {}
    for click in datasets.open_dataset("movielens", folder):
        users.setdefault(click["user_id"], []).append(items.setdefault(click["item_id"], len(items)))
    known = [history[: len(history) - int(len(history) * HELD_OUT)] for history in users.values()]
    held = [set(history[len(mine) :]) for history, mine in zip(users.values(), known, strict=True)]
    indptr = np.cumsum([0, *map(len, known)])
    columns = np.concatenate(known).astype(np.int64)
    return Split(als.Rows(indptr, columns, np.ones(len(columns))), held, len(items))


def learn(split: Split, epsilon: float | None, seed: int) -> Iterator[float]:
    """NDCG@10 after each of MARKS rounds."""
    rng, nodes = np.random.default_rng(seed), len(split.held)
    length = split.items * FACTORS
    budget = None if epsilon is None else Budget(epsilon, DELTA)
    done = plan(length, CLIP, nodes, int(SMALLEST_COHORT * nodes), budget, ROUNDS).done
    noise = np.sqrt(nodes * (done.node_sigma**2 + 0.25)) / done.scale
    start = als.initial(split.items, FACTORS, rng).astype(np.float64)
    state = federated.new_state(start.ravel(), RULE)
    for number in range(1, ROUNDS + 1):
        total = clipped_sum(split, state.model.reshape(-1, FACTORS)).ravel() + noise * rng.standard_normal(length)
        state = federated.fold(state, total / nodes, RULE)
        if number in MARKS:
            yield quality(split, state.model.reshape(-1, FACTORS))


def clipped_sum(split: Split, Y: Float) -> Float:
    """A node of one user has an update of rank one, v x': so its norm is |v| |x|, and no node's matrix is ever made."""
    X = als.solve(als.basis(Y), split.train, OBJECTIVE)
    owners = np.repeat(np.arange(len(X)), np.diff(split.train.indptr))
    V = -OBJECTIVE.unobserved * (X @ Y.T)
    scores = np.einsum("ef,ef->e", X[owners], Y[split.train.columns])
    V[owners, split.train.columns] += OBJECTIVE.alpha * (1 - scores)
    norms = np.linalg.norm(V, axis=1) * np.linalg.norm(X, axis=1)
    return np.asarray(V.T @ (X * np.minimum(1.0, CLIP / np.maximum(norms, 1e-12))[:, None]))


def quality(split: Split, Y: Float) -> float:
    X = als.solve(als.basis(Y), split.train, OBJECTIVE)
    return ndcg(split, X @ Y.T)


def ndcg(split: Split, scores: Float) -> float:
    scores = scores.copy()
    owners = np.repeat(np.arange(len(scores)), np.diff(split.train.indptr))
    scores[owners, split.train.columns] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :N]
    gains = 1 / np.log2(np.arange(2, N + 2))
    found = []
    for items, held in zip(best.tolist(), split.held, strict=True):
        hits = np.array([item in held for item in items])
        if held:
            found.append(hits @ gains / gains[: min(N, len(held))].sum())
    return float(np.mean(found))


def central(split: Split) -> float:
    """ALS on everybody's data in one place, with the same objective and factors."""
    start = als.initial(split.items, FACTORS, np.random.default_rng(0))
    *_, fitted = als.train(split.train, start, 10, OBJECTIVE)
    return quality(split, fitted.Y.astype(np.float64))


def popularity(split: Split) -> float:
    counts = np.bincount(split.train.columns, minlength=split.items).astype(np.float64)
    return ndcg(split, np.tile(counts, (len(split.held), 1)))
