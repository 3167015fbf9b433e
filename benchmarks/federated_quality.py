"""NDCG@10 of federated collaborative filtering by epsilon and rounds, beside central ALS and popularity.

Each user is a node; the terms are those of [federated] in infra/config/settings.toml. One process does the maths of the
rounds: the node solves its user's vector and clips its update; the sum gets the plan's noise, and the rule folds it.
One thing differs from a real round: the sum is taken in float64, and one Gaussian has the variance of rounding and
noise. On MovieLens 100K each user's newest fifth is held out, on MovieLens 1M the item of the NCF split. Lists are of
all items that the user has not rated before. Seeds change the start and the noise.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import plot
from benchmarks.clicks import DATA
from benchmarks.harness import Result, console, table
from benchmarks.in_batch import asked
from headrace.edge import datasets
from headrace.edge.federated.coordinator import QUORUM
from headrace.infra import paths
from headrace.infra.settings import Federated, load
from headrace.udfs.factors import als
from headrace.udfs.federated import round_arithmetic, rounds
from headrace.udfs.federated.accountant import Budget
from headrace.udfs.federated.plan import plan

Float = NDArray[np.float64]
EPSILONS = (0.1, 1.0, 8.0, 10.0, None)
DELTA, SEEDS, FACTORS = 1e-5, 5, 8
HELD_OUT, N = 0.2, 10
OBJECTIVE = als.ials(alpha=1.0, reg=0.01, unobserved=0.1)
TARGET = 0.80
GREY = "#6b7280"
COLOURS = ("#dc2626", "#d97706", "#2563eb", "#059669", "#111827")


class Split(NamedTuple):
    train: als.Rows
    held: list[set[int]]
    items: int


def main() -> Result:
    terms = load().federated
    found = {name: _measured(name, split, terms) for name, split in _splits()}
    ours = {name: each["ours"] for name, each in found.items()}
    ratios = {name: round(each[_name(8.0)] / each[_name(None)], 3) for name, each in ours.items()}
    conditions: dict[str, Any] = {
        name: {key: each[key] for key in ("nodes", "sd", "by_rounds")} for name, each in found.items()
    }
    conditions |= {"ratios": ratios, "factors": FACTORS, "seeds": SEEDS, "delta": DELTA, "target": TARGET}
    conditions |= {"rounds": terms.rounds, "clip": terms.clip, "rule": terms.rule, "rate": terms.rate}
    peers = {name: each["peers"] for name, each in found.items()}
    return Result(
        "federated_quality", ours, peers, min(ratios.values()), "the same without noise", "NDCG@10", conditions
    )


def _splits() -> Iterator[tuple[str, Split]]:
    yield "MovieLens 100K", by_time()
    yield "MovieLens 1M", left_out()


def _measured(name: str, split: Split, terms: Federated) -> dict[str, Any]:
    curves = {}
    for epsilon in EPSILONS:
        with console.status(f"{name}, {_name(epsilon)}"):
            curves[_name(epsilon)] = np.array([list(learn(split, epsilon, seed, terms)) for seed in range(SEEDS)])
    peers = {"central ALS": central(split), "popularity": popularity(split)}
    means = {each: runs.mean(axis=0).round(4).tolist() for each, runs in curves.items()}
    spread = {each: round(float(runs[:, -1].std()), 4) for each, runs in curves.items()}
    table(f"NDCG@10, {name}", ("", "mean", "sd"), [(each, m[-1], spread[each]) for each, m in means.items()])
    for each, value in peers.items():
        console.print(f"{each}: {value:.4f}")
    at = [0, *marks(terms.rounds)]
    lines = [
        plot.Line(each, [0.0, *m], colour, half_width=[0.0, *curves[each].std(axis=0)])
        for (each, m), colour in zip(means.items(), COLOURS, strict=True)
    ]
    lines += [
        plot.Line(each, [value] * len(at), GREY, dashes)
        for (each, value), dashes in zip(peers.items(), ("6 4", "2 3"), strict=True)
    ]
    title = f"{name}: {len(split.held):,} nodes, mean and deviation of {SEEDS} seeds"
    picture = plot.svg(title, "rounds", "NDCG@10", at, lines)
    (paths.PACKAGE / "docs" / f"federated-{name.split()[-1].lower()}.svg").write_text(picture)
    return {
        "ours": {each: m[-1] for each, m in means.items()},
        "peers": {each: round(value, 4) for each, value in peers.items()},
        "nodes": len(split.held),
        "sd": spread,
        "by_rounds": {"after": at[1:]} | means,
    }


def _name(epsilon: float | None) -> str:
    return "no noise" if epsilon is None else f"epsilon {epsilon:g}"


def marks(count: int) -> list[int]:
    """Rounds after which the model is judged."""
    return sorted({1, 2, 5, *range(10, count, 5), count} & set(range(1, count + 1)))


def by_time() -> Split:
    """Users' ratings in time order; an item's rating counts as having liked to see it."""
    users: dict[str, list[int]] = {}
    items: dict[str, int] = {}
    for click in datasets.open_dataset("movielens", DATA):
        users.setdefault(click["user_id"], []).append(items.setdefault(click["item_id"], len(items)))
    known = [history[: len(history) - int(len(history) * HELD_OUT)] for history in users.values()]
    held = [set(history[len(mine) :]) for history, mine in zip(users.values(), known, strict=True)]
    return Split(_rows(list(map(len, known)), np.concatenate(known)), held, len(items))


def left_out() -> Split:
    given = asked.ncf(DATA)
    users, items = given.size
    order = np.argsort(given.users, kind="stable")
    held = np.zeros(users, np.int64)
    held[given.who] = given.candidates[:, 0]
    return Split(
        _rows(np.bincount(given.users, minlength=users), given.items[order]), [{int(item)} for item in held], items
    )


def _rows(counts: Any, columns: NDArray[np.int64]) -> als.Rows:
    return als.Rows(np.cumsum([0, *counts]), columns.astype(np.int64), np.ones(len(columns)))


def learn(split: Split, epsilon: float | None, seed: int, terms: Federated) -> Iterator[float]:
    """NDCG@10 after each of `marks` rounds."""
    rng, nodes = np.random.default_rng(seed), len(split.held)
    length, rule = split.items * FACTORS, rounds.rule(terms.rule, terms.rate)
    budget = None if epsilon is None else Budget(epsilon, DELTA)
    done = plan(length, terms.clip, nodes, int(QUORUM * nodes), budget, terms.rounds).done
    noise = np.sqrt(nodes * (done.node_sigma**2 + 0.25)) / done.scale
    start = als.initial(split.items, FACTORS, rng).astype(np.float64)
    state = round_arithmetic.new_state(start.ravel(), rule)
    for number in range(1, terms.rounds + 1):
        total = clipped_sum(split, state.model.reshape(-1, FACTORS), terms.clip).ravel()
        state = round_arithmetic.fold(state, (total + noise * rng.standard_normal(length)) / nodes, rule)
        if number in marks(terms.rounds):
            yield quality(split, state.model.reshape(-1, FACTORS))


def clipped_sum(split: Split, Y: Float, clip: float) -> Float:
    """A node of one user has an update of rank one, v x': so its norm is |v| |x|, and no node's matrix is ever made."""
    X = als.solve(als.basis(Y), split.train, OBJECTIVE)
    owners = np.repeat(np.arange(len(X)), np.diff(split.train.indptr))
    V = -OBJECTIVE.unobserved * (X @ Y.T)
    scores = np.einsum("ef,ef->e", X[owners], Y[split.train.columns])
    V[owners, split.train.columns] += OBJECTIVE.alpha * (1 - scores)
    norms = np.linalg.norm(V, axis=1) * np.linalg.norm(X, axis=1)
    return np.asarray(V.T @ (X * np.minimum(1.0, clip / np.maximum(norms, 1e-12))[:, None]))


def quality(split: Split, Y: Float) -> float:
    X = als.solve(als.basis(Y), split.train, OBJECTIVE)
    return ndcg(split, X @ Y.T)


def ndcg(split: Split, scores: Float) -> float:
    scores = scores.copy()
    owners = np.repeat(np.arange(len(scores)), np.diff(split.train.indptr))
    scores[owners, split.train.columns] = -np.inf
    best = np.argpartition(-scores, N, axis=1)[:, :N]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
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
