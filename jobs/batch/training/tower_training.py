"""The training of two towers, as each process of a TorchDistributor runs it; they share a folder and a gloo group.

    *.npy           what users did (tower_sequences.py), mapped into each process's memory
    content.npz     each item's hashed tokens, as Rows
    checkpoint.pt   the state after the last epoch, replaced at once
    plan.json       TrainingPlan

What a step is, tower_steps.py says. The newest takes of some users are never trained on: they decide which epoch is the
best and when to stop. If too few users took two items for that, all epochs are trained and the last one is the best. An
epoch that leaves numbers that are not finite ends the training, and is not the best.

An epoch is a function of the state before it and of its number, so a training that was killed goes on to the same end.
"""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from headrace.infra import cores, durable
from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.training import tower_sequences, tower_steps, towers
from headrace.jobs.batch.training.row_adam import RowAdam
from headrace.jobs.batch.training.tower_sequences import Sequences, Window
from headrace.jobs.batch.training.tower_steps import TrainingPlan, TrainingStep
from headrace.jobs.batch.training.towers import Towers, Users
from headrace.udfs.factors.als import Int, Real, Rows, ranges
from headrace.udfs.factors.confidence import UNKNOWN
from headrace.udfs.factors.top_n import Excluded

PLAN, CONTENT, CHECKPOINT = "plan.json", "content.npz", "checkpoint.pt"
JUDGES, JUDGED, LISTED = 1000, 0.2, 20  # users whose newest takes decide when to stop; share of takes; items of a list


class Judges(NamedTuple):
    """Users to list for, as known before the takes that the lists should hold."""

    users: Users
    seen: Excluded
    owners: Int
    columns: Int


class TrainingProgress(NamedTuple):
    epoch: int  # epochs done
    best: float  # the best quality so far
    since: int  # epochs since the best

    def after(self, quality: float | None) -> "TrainingProgress":
        """Returns the progress after one more epoch. None: nobody judges, so the newest epoch is the best."""
        better = quality is None or quality > self.best
        return TrainingProgress(self.epoch + 1, max(quality or 0.0, self.best), 0 if better else self.since + 1)


def run(folder: str) -> None:
    """Trains in one process; TorchDistributor calls it in each."""
    plan = msgspec.json.decode((Path(folder) / PLAN).read_bytes(), type=TrainingPlan)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(max(1, cores.usable() // ranks))
    if ranks > 1:
        dist.init_process_group("gloo")
    try:
        with durable.locked(Path(folder)) if rank == 0 else nullcontext():  # an orphan of a killed run ends first
            train(Path(folder), plan, rank, ranks)
    finally:
        if ranks > 1:
            dist.destroy_process_group()


def train(folder: Path, plan: TrainingPlan, rank: int, ranks: int) -> None:
    content, device = load(folder / CONTENT), device_of(plan, rank)
    training, judged = apart(tower_sequences.read(folder), plan.window, plan.seed)
    shares = tower_sequences.shares(training, plan.window)
    torch.manual_seed(plan.seed)
    model = Towers(tower_steps.shape(plan)).to(device)
    optimizer = RowAdam(model, plan.rate, plan.decay)
    now = resume(folder, model, optimizer)
    shared = nn.parallel.DistributedDataParallel(model) if ranks > 1 else model
    while now.epoch < plan.epochs and now.since < plan.patience:
        torch.manual_seed(hash((plan.seed, now.epoch, rank)) % 2**31)
        began = time.monotonic()
        hard = tower_steps.hard_negatives(model, training, content, plan, now.epoch)
        correction = tower_steps.chances(shares, plan, hard, ranks).to(device)
        model.train()
        loss, pairs = 0.0, 0
        for step in tower_steps.steps(training, content, plan, now.epoch, rank, ranks, hard):
            loss += learn(shared, optimizer, step.to(device), correction)
            pairs += step.pairs
        optimizer.settle()
        loss = float(loss)
        speed = ranks * pairs / (time.monotonic() - began)
        quality = judge(model, content, judged, loss) if rank == 0 else None
        if quality is not None and np.isnan(quality):
            print(f"epoch {now.epoch + 1} left numbers that are not finite: the training ends before it", flush=True)
            now = now._replace(since=plan.patience)
        elif rank == 0:
            now = now.after(quality)
            judgement = "no judges" if quality is None else f"NDCG@{LISTED} {quality:.4f}"
            print(f"epoch {now.epoch}: {judgement}, {speed:,.0f} pairs/s", flush=True)
            keep(folder, model, optimizer, now)
        now = agreed(now, ranks)


def agreed(now: TrainingProgress, ranks: int) -> TrainingProgress:
    """Returns the first process's progress in all processes."""
    if ranks == 1:
        return now
    first = torch.tensor(now, dtype=torch.float64)
    dist.broadcast(first, 0)
    epoch, best, since = first.tolist()
    return TrainingProgress(int(epoch), best, int(since))


def resume(folder: Path, model: nn.Module, optimizer: RowAdam) -> TrainingProgress:
    """Loads the checkpoint, if there is one."""
    path = folder / CHECKPOINT
    if not path.exists():
        return TrainingProgress(0, -1.0, 0)
    kept = torch.load(path, weights_only=True, map_location=next(model.parameters()).device)
    model.load_state_dict(kept["state"])
    optimizer.load_state_dict(kept["optimizer"])
    return TrainingProgress(*(kept[name] for name in TrainingProgress._fields))


def keep(folder: Path, model: nn.Module, optimizer: RowAdam, now: TrainingProgress) -> None:
    path = folder / CHECKPOINT
    before = torch.load(path, weights_only=True)["best_state"] if now.since else None
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {"state": state, "optimizer": optimizer.state_dict(), "best_state": state if before is None else before}
    draft = path.with_suffix(".draft")
    torch.save(kept | now._asdict(), draft)
    draft.replace(path)


def device_of(plan: TrainingPlan, rank: int) -> torch.device:
    """Returns where a process trains. Raises HeadraceError for a GPU that is not there."""
    if plan.device != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", rank % torch.cuda.device_count())
    if plan.device == "cuda":
        raise HeadraceError("device must be auto or cpu where torch finds no GPU, got cuda")
    return torch.device("cpu")


def apart(sequences: Sequences, window: Window, seed: int) -> tuple[Sequences, Judges]:
    """Returns (what users did before the judges' newest takes, the judges)."""
    able = tower_steps.able(sequences)
    judges = np.sort(np.random.default_rng(seed).choice(able, min(JUDGES, len(able) // 10), replace=False))
    last = sequences.take_ends[judges]
    hidden = np.maximum((JUDGED * (last - sequences.take_starts[judges])).astype(np.int64), 1)
    ends, take_ends = sequences.ends.copy(), sequences.take_ends.copy()
    ends[judges], take_ends[judges] = sequences.takes[last - hidden], last - hidden
    left = sequences._replace(ends=ends, take_ends=take_ends)
    starts, ends = left.starts[judges], left.ends[judges]
    wanted = sequences.items[sequences.takes[ranges(last - hidden, last)]].astype(np.int64)
    before = tower_sequences.between(left, starts, ends)
    is_known = before.items != UNKNOWN
    seen = Excluded(before.users[is_known], before.items[is_known])
    known = tower_sequences.known(left, starts, ends, window)
    return left, Judges(known, seen, np.repeat(np.arange(len(judges)), hidden), wanted)


def learn(model: nn.Module, optimizer: RowAdam, step: TrainingStep, correction: Tensor) -> Tensor:
    """Takes one step and returns its loss."""
    alone = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    for table, rows in alone.read(step.items, step.content):
        optimizer.ready(table, rows)
    scores = model(step.bags, step.features, step.items, step.content)
    scores = scores - correction[step.items]
    scores[step.shown, step.bags.columns] = -torch.inf
    loss = -scores.log_softmax(dim=1)[step.owners, step.wanted].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def judge(model: Towers, content: Rows, judged: Judges, loss: float) -> float | None:
    """Returns NDCG@LISTED over the judges: NaN if not all numbers are finite, None if there are no judges."""
    offered, taken = towers.tables(model, content)
    X = towers.vectors(model, taken, judged.users).astype(np.float32)
    if not (np.isfinite(loss) and is_finite(model, X, offered)):
        return np.nan
    return ndcg(ranks_of(X, offered, judged), judged) if len(judged.columns) else None


def is_finite(model: nn.Module, X: Real, Y: Real) -> bool:
    """Returns whether the parameters and all scores X Y' are finite in float32."""
    largest = Y.shape[1] * float(np.abs(X).max(initial=0.0)) * float(np.abs(Y).max())
    return largest < float(np.finfo(np.float32).max) and all(bool(each.isfinite().all()) for each in model.parameters())


def ranks_of(X: Real, Y: Real, judged: Judges) -> Int:
    """Returns the rank of each wanted item among all items that were not seen.

    Ties count against it: items that all score the same are no list. So does what is not a number. A wanted item that
    was seen, such as one refused before, has the worst rank.
    """
    ranks = np.empty(len(judged.columns), np.int64)
    seen = judged.seen
    for at in range(0, len(X), 64):
        part = X[at : at + 64] @ Y.T
        here = (seen.users >= at) & (seen.users < at + 64)
        part[seen.users[here] - at, seen.items[here]] = -np.inf
        cells = np.flatnonzero((judged.owners >= at) & (judged.owners < at + 64))
        own = judged.owners[cells] - at
        ranks[cells] = (~(part[own] < part[own, judged.columns[cells]][:, None])).sum(axis=1) - 1
    return ranks


def ndcg(ranks: Int, judged: Judges) -> float:
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
