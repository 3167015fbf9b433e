"""The training of two towers, as each process of a TorchDistributor runs it; they share a folder and a gloo group.

    taken.npz       what each user took (headrace.udfs.factors.als.Rows)
    features.npz    each user's features, as Rows
    content.npz     each item's hashed tokens, as Rows
    checkpoint.pt   the state after the last epoch, replaced at once
    plan.json       TrainingPlan

A step takes some users, hides a random part of what each took, and asks for it by a softmax over three kinds of items:
- all items that the step's users took (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
  recommendations");
- items drawn evenly from the catalogue (Yang et al. 2020, "Mixed negative sampling");
- hard items, drawn as often as the towers before the epoch list them for users who did not take them (Huang et al.
  2020, "Embedding-based retrieval in Facebook search"): not from the top of a list, which has what a user wants and has
  not seen.

A score is corrected by the log of its item's chance to be offered, 1 - (1 - n_i / n)^users (1 - 1/m)^drawn
(1 - h_i)^hard. This is in closed form, where Yi et al. estimate it from a stream. An item that a user took is no
negative for them. Some cells of some users are never trained on: they decide when to stop.

An epoch is a function of the state before it and of its number, so a training that was killed goes on to the same end.
"""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from headrace.infra import durable
from headrace.jobs.batch.training import towers
from headrace.jobs.batch.training.towers import Bags, Shape, Towers, Users
from headrace.udfs.factors.als import Float, Int, Real, Rows

PLAN, TAKEN, FEATURES, CONTENT, CHECKPOINT = "plan.json", "taken.npz", "features.npz", "content.npz", "checkpoint.pt"
JUDGES, JUDGED, LISTED = 1000, 0.2, 20  # users whose hidden cells decide when to stop; share of cells; items of a list
ASKED, HARD = 1000, (100, 500)  # users whose lists give the hard items; the places of these items


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    shape: dict[str, float]
    epochs: int
    patience: int  # epochs without a better one
    users: int  # of a step, all processes together
    drawn: int  # items that a process's step draws from the catalogue
    hard: int  # items that a process's step draws from what the towers list wrongly
    hide: float  # share of a user's items that a step hides and asks for
    rate: float  # learning rate
    decay: float  # weight decay
    seed: int


class TrainingStep(NamedTuple):
    bags: Bags  # the shown items of each user; columns are places in `items`
    features: Bags
    items: Tensor  # all that are offered
    owners: Tensor  # of each hidden cell: the row of its user
    wanted: Tensor  # of each hidden cell: its place in `items`
    shown: Tensor  # of each column of `bags`: the row of its user
    pairs: int


class Judged(NamedTuple):
    """Users to list for, and the cells that the lists should hold."""

    users: Users
    owners: Int
    columns: Int


def run(folder: str) -> None:
    """Trains in one process; TorchDistributor calls it in each."""
    plan = msgspec.json.decode((Path(folder) / PLAN).read_bytes(), type=TrainingPlan)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks))
    if ranks > 1:
        dist.init_process_group("gloo")
    try:
        with durable.locked(Path(folder)) if rank == 0 else nullcontext():  # an orphan of a killed run ends first
            train(Path(folder), plan, rank, ranks)
    finally:
        if ranks > 1:
            dist.destroy_process_group()


def train(folder: Path, plan: TrainingPlan, rank: int, ranks: int) -> None:
    content = load(folder / CONTENT)
    training, judged = apart(Users(load(folder / TAKEN), load(folder / FEATURES)), plan.seed)
    torch.manual_seed(plan.seed)
    model = Towers(shape(plan))
    optimizer = torch.optim.Adam(model.parameters(), plan.rate, weight_decay=plan.decay)
    epoch, best, since = resume(folder, model, optimizer)
    shared = nn.parallel.DistributedDataParallel(model) if ranks > 1 else model
    while epoch < plan.epochs and since < plan.patience:
        torch.manual_seed(hash((plan.seed, epoch, rank)) % 2**31)
        began, pairs = time.monotonic(), 0
        hard = hard_negatives(model, training, content, plan, epoch)
        correction = chances(training.taken, plan, hard, ranks)
        model.train()
        for step in steps(training, plan, epoch, rank, ranks, hard):
            pairs += learn(shared, optimizer, step, content, correction)
        took_s = time.monotonic() - began
        quality = ndcg(listed(model, content, judged), judged) if rank == 0 else 0.0
        epoch, since = epoch + 1, 0 if quality > best else since + 1
        if rank == 0:
            print(f"epoch {epoch}: NDCG@{LISTED} {quality:.4f}, {ranks * pairs / took_s:,.0f} pairs/s", flush=True)
            keep(folder, model, optimizer, epoch, max(quality, best), since)
        best, since = agreed(max(quality, best), since, ranks)


def shape(plan: TrainingPlan) -> Shape:
    whole = {name: int(value) for name, value in plan.shape.items() if not name.endswith("dropout")}
    return Shape(**plan.shape | whole)  # type: ignore[arg-type]


def agreed(best: float, since: int, ranks: int) -> tuple[float, int]:
    """Returns the first process's (best, since) in all processes."""
    if ranks == 1:
        return best, since
    first = torch.tensor([best, since], dtype=torch.float64)
    dist.broadcast(first, 0)
    return float(first[0]), int(first[1])


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float, int]:
    """Loads the checkpoint, if there is one. Returns (epochs done, best quality so far, epochs since the best)."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0, -1.0, 0
    kept = torch.load(path, weights_only=True)
    model.load_state_dict(kept["state"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["epoch"], kept["best"], kept["since"]


def keep(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, best: float, since: int) -> None:
    path = folder / CHECKPOINT
    before = torch.load(path, weights_only=True)["best_state"] if since else None
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {"state": state, "optimizer": optimizer.state_dict(), "best_state": state if before is None else before}
    draft = path.with_suffix(".draft")
    torch.save(kept | {"epoch": epoch, "best": best, "since": since}, draft)
    draft.replace(path)


def apart(users: Users, seed: int) -> tuple[Users, Judged]:
    """Returns (the users without the judges' hidden cells, the judges)."""
    rng, rows = np.random.default_rng(seed), users.taken
    lengths = np.diff(rows.indptr)
    able = np.flatnonzero(lengths >= 2)
    judges = np.sort(rng.choice(able, min(JUDGES, len(able) // 10), replace=False))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    hidden = np.isin(owners, judges) & to_hide(rng.random(len(owners)), rows.indptr, JUDGED)
    left = users._replace(taken=without(rows, hidden))
    row = np.full(len(lengths), -1)
    row[judges] = np.arange(len(judges))
    return left, Judged(left.chosen(judges), row[owners[hidden]], rows.columns[hidden])


def to_hide(drawn: Float, indptr: Int, share: float) -> Any:
    """Returns which entries are hidden: those whose number is below the share; of each row at least one, never all.

    The entry of a row with one entry is shown.
    """
    starts = indptr[:-1][np.diff(indptr) > 0]
    lengths = np.diff(indptr)[np.diff(indptr) > 0]
    lowest, highest = (np.repeat(each.reduceat(drawn, starts), lengths) for each in (np.minimum, np.maximum))
    return ((drawn < share) | (drawn == lowest)) & (drawn != highest)


def without(rows: Rows, hidden: Any) -> Rows:
    gone = np.concatenate([[0], np.cumsum(hidden)])
    return Rows(rows.indptr - gone[rows.indptr], rows.columns[~hidden], rows.strengths[~hidden])


def hard_negatives(model: Towers, users: Users, content: Rows, plan: TrainingPlan, epoch: int) -> Float:
    """Returns (m,): each item's share of the places HARD in the lists of ASKED users, without what they took."""
    items = int(plan.shape["items"])
    first, last = (min(place, items // part) for place, part in zip(HARD, (10, 2), strict=True))
    if not plan.hard or last <= first:
        return np.zeros(items)
    able = np.flatnonzero(np.diff(users.taken.indptr) >= 2)
    asked = users.chosen(np.random.default_rng([plan.seed, epoch, HARD[0]]).choice(able, min(ASKED, len(able)), False))
    offered, taken = towers.tables(model, content)
    X = towers.vectors(model, taken, asked).astype(np.float32)
    listed_times = np.zeros(items, np.int64)
    for user, x in enumerate(X):
        scores = offered @ x
        scores[asked.taken.columns[slice(*asked.taken.indptr[user : user + 2])]] = -np.inf
        best = np.argpartition(-scores, last)[:last]
        best = best[np.argpartition(-scores[best], first)[first:]]
        listed_times[best[scores[best] > -np.inf]] += 1
    return np.asarray(listed_times / max(1, listed_times.sum()))


def chances(rows: Rows, plan: TrainingPlan, hard: Float, ranks: int = 1) -> Tensor:
    """Returns the log of each item's chance to be offered in a process's step, (m,)."""
    items = int(plan.shape["items"])
    taken = np.bincount(rows.columns, minlength=items) / max(1, np.count_nonzero(np.diff(rows.indptr) >= 2))
    absent = plan.users / ranks * np.log1p(-np.minimum(taken, 1 - 1e-9)) + plan.drawn * np.log1p(-1 / max(items, 2))
    absent += plan.hard * np.log1p(-np.minimum(hard, 1 - 1e-9))
    return torch.from_numpy(np.log(-np.expm1(absent)).astype(np.float32))


def steps(users: Users, plan: TrainingPlan, epoch: int, rank: int, ranks: int, hard: Float) -> Iterator[TrainingStep]:
    """Yields this process's part of each step; all processes have equally many."""
    able = np.flatnonzero(np.diff(users.taken.indptr) >= 2)
    order = np.random.default_rng([plan.seed, epoch]).permutation(able)
    rng = np.random.default_rng([plan.seed, epoch, rank])
    below = np.cumsum(hard)
    for at in range(0, len(order), plan.users):
        own = order[at : at + plan.users][rank::ranks]
        if len(order[at : at + plan.users]) >= ranks:
            yield step(users.chosen(own), plan, rng, below)


def step(users: Users, plan: TrainingPlan, rng: np.random.Generator, below: Float) -> TrainingStep:
    """Returns one process's step. below: the cumulative chances of the hard items."""
    rows = users.taken
    hidden = to_hide(rng.random(len(rows.columns)), rows.indptr, plan.hide)
    drawn = rng.integers(0, int(plan.shape["items"]), plan.drawn)
    hard = np.searchsorted(below, below[-1] * rng.random(plan.hard if below[-1] else 0), "right")
    items, place = np.unique(np.concatenate([rows.columns, drawn, hard]), return_inverse=True)
    place = place[: len(rows.columns)]
    owners = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    shown = without(Rows(rows.indptr, place, rows.strengths), hidden)
    offered, asked, wanted, of = map(torch.from_numpy, (items, owners[hidden], place[hidden], owners[~hidden]))
    return TrainingStep(towers.bags(shown), towers.bags(users.features), offered, asked, wanted, of, int(hidden.sum()))


def learn(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: TrainingStep, content: Rows, correction: Tensor
) -> int:
    scores = model(step.bags, step.features, step.items, towers.bags(towers.chosen(content, step.items.numpy())))
    scores = scores - correction[step.items]
    scores[step.shown, step.bags.columns] = -torch.inf
    loss = -scores.log_softmax(dim=1)[step.owners, step.wanted].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return step.pairs


def listed(model: Towers, content: Rows, judged: Judged) -> Int:
    offered, taken = towers.tables(model, content)
    X = towers.vectors(model, taken, judged.users).astype(np.float32)
    return ranks_of(X, offered, judged)


def ranks_of(X: Real, Y: Real, judged: Judged) -> Int:
    """Returns the rank of each hidden cell among all items that were not shown."""
    ranks = np.empty(len(judged.columns), np.int64)
    rows = judged.users.taken
    owners = np.repeat(np.arange(len(X)), np.diff(rows.indptr))
    for at in range(0, len(X), 64):
        part = X[at : at + 64] @ Y.T
        here = (owners >= at) & (owners < at + 64)
        part[owners[here] - at, rows.columns[here]] = -np.inf
        cells = np.flatnonzero((judged.owners >= at) & (judged.owners < at + 64))
        own = judged.owners[cells] - at
        ranks[cells] = (part[own] > part[own, judged.columns[cells]][:, None]).sum(axis=1)
    return ranks


def ndcg(ranks: Int, judged: Judged) -> float:
    """Returns the mean NDCG@LISTED over the judges; 0 without judges."""
    judges = len(judged.users.taken.indptr) - 1
    if not judges:
        return 0.0
    gains = np.where(ranks < LISTED, 1 / np.log2(ranks + 2), 0.0)
    best = np.cumsum(1 / np.log2(np.arange(2, LISTED + 2)))
    wanted = np.bincount(judged.owners, minlength=judges)
    return float(np.mean(np.bincount(judged.owners, gains, judges) / best[np.minimum(wanted, LISTED) - 1]))


def load(path: Path) -> Rows:
    with np.load(path) as kept:
        return Rows(kept["indptr"], kept["columns"], kept["strengths"])


def save(path: Path, rows: Rows) -> None:
    np.savez(path, **rows._asdict())
