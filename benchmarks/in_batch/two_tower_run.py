"""Two towers of the night beside a bare torch loop of the same shapes, and a whole training; prints JSON.

Pairs per second in an epoch; a pair is an item that a step asks for. Then the towers are trained to their end and rank.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from benchmarks.in_batch import asked
from headrace.infra.settings import load
from headrace.jobs.batch.training import tower_sequences, tower_steps, tower_training, towers
from headrace.jobs.batch.training.row_adam import RowAdam
from headrace.jobs.batch.training.tower_sequences import Sequences
from headrace.jobs.batch.training.tower_steps import TrainingPlan, TrainingStep
from headrace.jobs.batch.training.tower_training import TrainingProgress
from headrace.jobs.batch.training.towers import Towers
from headrace.udfs.factors.als import Rows
from headrace.udfs.factors.confidence import ACTIONS, Events


def main(path: Path, rounds: int, device: str, whole: bool) -> None:
    given, settings = asked.read(path), load()
    items = given.size[1]
    content = Rows(np.zeros(items + 1, np.int64), np.empty(0, np.int64), np.empty(0))
    how = {"history": settings.session.history, "half_life_ms": 1e12, "rating_max": settings.night.als.rating_max}
    plan = tower_steps.planned(items, content, settings.night.two_tower, how)
    plan = msgspec.structs.replace(plan, device=device)
    with tempfile.TemporaryDirectory() as folder:
        tower_sequences.write(Path(folder), views(given), plan.window)
        tower_training.save(Path(folder) / tower_training.CONTENT, content)
        (Path(folder) / tower_training.PLAN).write_bytes(msgspec.json.encode(plan))
        found = epochs(tower_sequences.read(Path(folder)), content, plan, rounds, Path(folder) / "timed")
        found |= ended(Path(folder), given, content, plan) if whole else {}
    print(json.dumps(found | {"device": str(tower_training.device_of(plan, 0)), "threads": torch.get_num_threads()}))


def views(given: asked.Asked) -> Events:
    order = np.argsort(given.users, kind="stable")
    n = len(order)
    actions = np.full(n, ACTIONS.index("view"))
    return Events(given.users[order], given.items[order], actions, np.full(n, np.nan), np.zeros(n, np.int64))


def epochs(sequences: Sequences, content: Rows, plan: TrainingPlan, rounds: int, kept: Path) -> dict[str, Any]:
    """Returns the medians over epochs; ours and the bare loop take turns."""
    kept.mkdir()
    device = tower_training.device_of(plan, 0)
    training, judged = tower_training.apart(sequences, plan.window, plan.seed)
    shares = tower_sequences.shares(training, plan.window)
    model = Towers(tower_steps.shape(plan)).to(device)
    optimizer = RowAdam(model, plan.rate)
    found: dict[str, list[float]] = {"ours": [], "ours, with validation and checkpoint": [], "bare torch": []}
    for epoch in range(rounds):
        began, pairs, loss = time.perf_counter(), 0, torch.zeros((), device=device)
        hard = tower_steps.hard_negatives(model, training, content, plan, epoch)
        correction = tower_steps.chances(shares, plan, hard).to(device)
        model.train()
        for step in tower_steps.steps(training, content, plan, epoch, 0, 1, hard):
            loss += tower_training.learn(model, optimizer, step.to(device), correction)
            pairs += step.pairs
        optimizer.settle()
        float(loss)  # waits for the device
        found["ours"].append(pairs / (time.perf_counter() - began))
        tower_training.judge(model, content, judged, 0.0)
        tower_training.keep(kept, model, optimizer, TrainingProgress(epoch, 0.0, 0))
        found["ours, with validation and checkpoint"].append(pairs / (time.perf_counter() - began))
        steps = [step.to(device) for step in tower_steps.steps(training, content, plan, epoch, 0, 1, hard)]
        found["bare torch"].append(bare(steps, plan, pairs, device))
    medians = {name: sorted(each)[len(each) // 2] for name, each in found.items()}
    return medians | {"epoch_s": pairs / medians["ours"]}


def bare(steps: list[TrainingStep], plan: TrainingPlan, pairs: int, device: torch.device) -> float:
    """Batches are ready, on the device; no correction, no mask, no drop-out."""
    f, hidden, items = (int(plan.shape[name]) for name in ("factors", "hidden", "items"))
    taken, offered = (nn.Embedding(items, f, sparse=True, device=device) for _ in range(2))
    layers = nn.Sequential(nn.Linear(f, hidden), nn.Tanh(), nn.Linear(hidden, f)).to(device)
    of_tables = torch.optim.SparseAdam([*taken.parameters(), *offered.parameters()], plan.rate)
    optimizers = (of_tables, torch.optim.Adam(layers.parameters(), plan.rate))
    began, total = time.perf_counter(), torch.zeros((), device=device)
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
        total += loss.detach()
    float(total)
    return pairs / (time.perf_counter() - began)


def ended(folder: Path, given: asked.Asked, content: Rows, plan: TrainingPlan) -> dict[str, Any]:
    """Trains to the end. Returns the minutes, the epochs, and HR and NDCG among all items that a user did not take."""
    began = time.perf_counter()
    tower_training.run(str(folder))
    minutes = (time.perf_counter() - began) / 60
    kept = torch.load(folder / tower_training.CHECKPOINT, weights_only=True, map_location="cpu")
    model = Towers(tower_steps.shape(plan))
    model.load_state_dict(kept["best_state"])
    sequences = tower_sequences.read(folder)
    known = tower_sequences.known(sequences, sequences.starts, sequences.ends, plan.window)
    Y, taken = towers.tables(model, content)
    ranked = asked.full(towers.vectors(model, taken, known).astype(np.float32), Y, given)
    return {"minutes": minutes, "epochs": kept["epoch"], "peak_gpu_mb": peak_mb()} | ranked


def peak_mb() -> int:
    return round(torch.cuda.max_memory_allocated() / 1e6) if torch.cuda.is_available() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="of asked.save")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--whole", action="store_true", help="train to the end, too")
    main(**vars(parser.parse_args()))
