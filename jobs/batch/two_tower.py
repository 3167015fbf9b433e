"""Two towers of a night's events: an item's vector comes from its content, a user's from what they did, from day one.

source     {lake}/clicks up to the night, without what the split holds out; [night.two_tower] catalogue, if there is one
transform  strengths -> torch in the processes of a TorchDistributor (jobs/batch/training/tower_training.py) -> vectors
sink       {home}/nights/{date}/two_tower/, as jobs/batch/training/model_folder.py describes it, and towers.pt

Run: headrace run two_tower --date 2026-01-31

A killed run goes on from the last epoch when it is run again. The stream computes a user's vector by least squares
against the item factors (docs/collaborative.md). `fold_in` picks its weights on the same hidden cells that stop the
training.
"""

import argparse
import hashlib
import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
import torch
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import TwoTower, load
from headrace.infra.versions.store import Contents
from headrace.jobs.batch import night
from headrace.jobs.batch.als import training
from headrace.jobs.batch.lake import hadoop_files
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import (
    blocks,
    catalogue_file,
    model_folder,
    split,
    tower_steps,
    tower_training,
    towers,
)
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.model_folder import Trained
from headrace.jobs.batch.training.tower_steps import TrainingPlan
from headrace.jobs.batch.training.tower_training import Judged
from headrace.jobs.batch.training.towers import Towers, Users
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Objective, Real, Rows
from headrace.udfs.factors.confidence import NO_FEATURE

STEP = "two_tower"
CONTENT = ("category", "price")
UNOBSERVED, REGS = (0.01, 0.03, 0.1, 0.3, 1.0), (1e-4, 1e-3, 1e-2)  # tried for the stream's fold-in


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    if tonight.is_left(STEP):
        return
    how = training(settings.night.als, settings.session.history)
    with tonight.writing(STEP) as draft:
        events = read(session(STEP), tonight, settings.night.protocol)
        build(events, how, settings.night.two_tower, tonight, settings.night.protocol, draft)
    print(f"{STEP} of {tonight.date}: {tonight.folder / STEP}")


def read(spark: SparkSession, tonight: Night, protocol: str) -> DataFrame:
    from headrace.jobs.batch.lake import tables
    from headrace.jobs.batch.publishing import popular

    clicks = split.trained_on(popular.placed(tables.clicks(spark, tonight.date), load().night), protocol)
    return clicks.select(*model_folder.columns(clicks), *split.TIES, *CONTENT)


def build(events: DataFrame, how: Training, s: TwoTower, tonight: Night, protocol: str, draft: Path) -> Trained:
    """Trains on all of `events` and fills the draft. Raises HeadraceError without items, or with one user."""
    began = time.monotonic()
    events = blocks.kept(events)
    lineage = model_folder.lineage(tonight, protocol, events)
    items, content = catalogue(events, s)
    rows, features = blocks.gathered(events, items, how)
    events.unpersist()
    if len(rows.indptr) < 3:
        raise HeadraceError(f"training needs at least 2 users, got {len(rows.indptr) - 1}")
    plan = planned(len(items), content, s, has_features=bool((features != NO_FEATURE).any()))
    users = towers.users(rows, features, tower_steps.shape(plan))
    with durable.locked(tonight.folder / f".{STEP}"):
        work = tonight.folder / f".{STEP}" / _fingerprint(lineage["digest"], plan, *users, content)
        model = fit(users, content, plan, s.processes, work)
        factors, taken = towers.tables(model, content)
        objective = fold_in(factors, tower_training.apart(users, plan.seed)[1])
        X = als.solve(als.basis(factors), rows, objective)
        shutil.rmtree(work)  # what fails before goes on from here
    popular = model_folder.popular(items, np.bincount(rows.columns, minlength=len(items)))
    parameters = how._replace(objective=objective, factors=s.factors, iterations=s.epochs, seed=s.seed).parameters()
    described = Trained(
        kind=STEP,
        dims={"items": len(items), "factors": s.factors, "users": len(X)},
        parameters=parameters | {"plan": msgspec.to_builtins(plan)},
        lineage=lineage | {"warm_start": None},
        seconds=round(time.monotonic() - began, 3),
    )
    model_folder.write(draft, Contents(factors, als.gram(X), items, popular), described)
    torch.save(towers.saved(model, content) | {"taken": taken}, draft / model_folder.TOWERS)
    return described


def catalogue(events: DataFrame, s: TwoTower) -> tuple[list[str], Rows]:
    """Returns (item ids in code point order, the hashed tokens of each), of the newest clicks and the catalogue's file.

    An item of the file that nobody clicked is in the model by its content. Raises Refusal if there are no items.
    """
    clicked = events.where(F.col("action") != "search").groupBy("item_id")
    newest = clicked.agg(*map(split.newest, CONTENT))
    tokens = {row.item_id: towers.tokens(row.category, row.price, []) for row in newest.collect()}
    if not tokens:
        raise split.nothing_left()
    if s.catalogue:
        with hadoop_files.here(events.sparkSession, s.catalogue) as path:
            described, faults = catalogue_file.read(path)
        said = f"{s.catalogue}: {len(described):,} items, {len(described.keys() - tokens):,} of them without an event"
        print(f"{said}; {faults}" if faults else said)
        for item, words in described.items():
            tokens[item] = sorted({*tokens.get(item, []), *words})
    items = sorted(tokens)
    buckets = s.buckets if any(tokens.values()) else 0
    return items, towers.hashed([tokens[item] for item in items], buckets)


def planned(items: int, content: Rows, s: TwoTower, has_features: bool = False) -> TrainingPlan:
    buckets = s.buckets if len(content.columns) else 0
    features = towers.FEATURE_BUCKETS if has_features else 0
    shape = towers.Shape(items, buckets, s.factors, s.hidden, s.dropout, s.id_dropout, features)
    names = ("epochs", "patience", "users", "drawn", "hard", "hide", "rate", "decay", "seed")
    return TrainingPlan(shape=shape._asdict(), **{name: getattr(s, name) for name in names})


def fit(users: Users, content: Rows, plan: TrainingPlan, processes: int, work: Path) -> Towers:
    """Trains the towers and returns them as they were when they were best. Raises Refusal if no epoch was any good."""
    work.mkdir(parents=True, exist_ok=True)
    tower_training.save(work / tower_training.TAKEN, users.taken)
    tower_training.save(work / tower_training.FEATURES, users.features)
    tower_training.save(work / tower_training.CONTENT, content)
    (work / tower_training.PLAN).write_bytes(msgspec.json.encode(plan))
    TorchDistributor(num_processes=processes, local_mode=True, use_gpu=False).run(tower_training.run, str(work))
    if not (work / tower_training.CHECKPOINT).exists():
        left = f"the first epoch left numbers that are not finite, at night.two_tower.rate = {plan.rate}"
        raise Refusal(f"two towers must stay finite, and {left}: lower the rate")
    kept = torch.load(work / tower_training.CHECKPOINT, weights_only=True)
    model = Towers(tower_steps.shape(plan))
    model.load_state_dict(kept["best_state"])
    never = np.bincount(users.taken.columns, minlength=model.shape.items) == 0
    with torch.no_grad():  # the id of an item that nobody took has only learnt that it was drawn as a negative
        for side in (model.offered, model.taken):
            side.ids.weight[torch.from_numpy(never)] = 0
    return model


def fold_in(Y: Real, judged: Judged) -> Objective:
    """Returns the weights with which least squares against Y best lists the judges' hidden cells."""
    length = float(np.mean(np.einsum("if,if->i", Y, Y, dtype=np.float64)))
    tried = [als.ials(1.0, reg * length, unobserved, 1.0) for unobserved in UNOBSERVED for reg in REGS]
    basis = als.basis(Y)

    def quality(objective: Objective) -> float:
        X = als.solve(basis, judged.users.taken, objective)
        return tower_training.ndcg(tower_training.ranks_of(X.astype(np.float32), Y, judged), judged)

    return max(tried, key=quality)


def _fingerprint(digest: str, plan: TrainingPlan, *read: Rows) -> str:
    """Returns a hash of all that the training reads."""
    parts = [digest.encode(), msgspec.json.encode(plan)]
    parts += [column.tobytes() for rows in read for column in rows]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
