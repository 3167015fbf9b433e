"""Pairs per second in an epoch of the night's two towers and of a bare torch loop of the same shapes; prints JSON."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.in_batch import asked
from headrace.infra.settings import load
from headrace.jobs.batch.training import tower_model, tower_steps, tower_training
from headrace.jobs.batch.training.row_adam import RowAdam
from headrace.jobs.batch.training.tower_training import TrainingProgress
from headrace.jobs.batch.training.towers import Towers, Users
from headrace.udfs.factors.als import Rows


def main(path: str, rounds: str) -> None:
    given, s = asked.read(Path(path)), load().night.two_tower
    items = given.size[1]
    content = Rows(np.zeros(items + 1, np.int64), np.empty(0, np.int64), np.empty(0))
    plan = tower_model.planned(items, content, s)
    users = rows(given)
    nothing = Rows(np.zeros(len(users.indptr), np.int64), np.empty(0, np.int64), np.empty(0))
    training, judged = tower_training.apart(Users(users, nothing), plan.seed)
    model = Towers(tower_steps.shape(plan))
    optimizer = RowAdam(model, plan.rate)
    found: dict[str, list[float]] = {"ours": [], "ours, with validation and checkpoint": [], "bare torch": []}
    for epoch in range(int(rounds)):
        began, pairs = time.perf_counter(), 0
        hard = tower_steps.hard_negatives(model, training, content, plan, epoch)
        correction = tower_steps.chances(training.taken, plan, hard)
        model.train()
        for step in tower_steps.steps(training, plan, epoch, 0, 1, hard):
            tower_training.learn(model, optimizer, step, content, correction)
            pairs += step.pairs
        optimizer.settle()
        found["ours"].append(pairs / (time.perf_counter() - began))
        with tempfile.TemporaryDirectory() as folder:
            tower_training.judge(model, content, judged, 0.0)
            tower_training.keep(Path(folder), model, optimizer, TrainingProgress(epoch, 0.0, 0))
        found["ours, with validation and checkpoint"].append(pairs / (time.perf_counter() - began))
        steps = list(tower_steps.steps(training, plan, epoch, 0, 1, hard))
        found["bare torch"].append(bare(steps, plan, pairs))
    medians = {name: sorted(each)[len(each) // 2] for name, each in found.items()}
    print(json.dumps(medians | {"epoch_s": pairs / medians["ours"]}))


def rows(given: asked.Asked) -> Rows:
    order = np.lexsort((given.items, given.users))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(given.users))])
    return Rows(indptr, given.items[order], np.ones(len(order)))


def bare(steps: list[Any], plan: tower_steps.TrainingPlan, pairs: int) -> float:
    """Batches are ready; no correction, no mask, no drop-out."""
    f, hidden, items = (int(plan.shape[name]) for name in ("factors", "hidden", "items"))
    taken, offered = (nn.Embedding(items, f, sparse=True) for _ in range(2))
    layers = nn.Sequential(nn.Linear(f, hidden), nn.Tanh(), nn.Linear(hidden, f))
    of_tables = torch.optim.SparseAdam([*taken.parameters(), *offered.parameters()], plan.rate)
    optimizers = (of_tables, torch.optim.Adam(layers.parameters(), plan.rate))
    began = time.perf_counter()
    for step in steps:
        bags = step.bags
        users = nn.functional.embedding_bag(
            bags.columns, taken(step.items), bags.offsets, mode="sum", per_sample_weights=bags.weights
        )
        scores = layers(users) @ offered(step.items).T
        loss = -scores.log_softmax(dim=1)[step.owners, step.wanted].mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return pairs / (time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
