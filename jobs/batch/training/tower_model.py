"""A model of two towers, from what a night knows: content of the items, training in processes of torch, tables.

A killed training goes on from its last epoch when it is run again: what it needs is in a hidden folder beside the
model's, named by a hash of all that the training reads.
"""

import hashlib
import shutil
from pathlib import Path

import msgspec
import numpy as np
import torch
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.settings import TwoTower
from headrace.infra.versions import model_files
from headrace.jobs.batch.lake import hadoop_files
from headrace.jobs.batch.training import (
    catalogue_file,
    model_folder,
    split,
    tower_sequences,
    tower_steps,
    tower_training,
    towers,
)
from headrace.jobs.batch.training.night_data import NightData
from headrace.jobs.batch.training.tower_sequences import Sequences
from headrace.jobs.batch.training.tower_steps import TrainingPlan
from headrace.jobs.batch.training.towers import Towers
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Rows
from headrace.udfs.factors.confidence import NO_FEATURE, UNKNOWN, Events
from headrace.udfs.recommenders.contract import TrainingOutcome

DRAWN, AT_ONCE = 100_000, 4096  # users whose vectors are summed, and how many are computed at a time


def train(data: NightData, s: TwoTower, folder: Path, files: dict[str, str]) -> TrainingOutcome:
    """Trains on all of the events and fills the folder. files: the name of each table of the user tower.

    Raises Refusal without items, or if the training diverges at once, HeadraceError with one user.
    """
    items, content = catalogue(data.events, s)
    events = placed(data.sequences(), data.items, items)
    if len(events.users) == 0 or events.users[-1] < 1:
        raise HeadraceError(f"training needs at least 2 users, got {len(np.unique(events.users))}")
    how = data.strength._asdict() | {"history": data.history}
    plan = tower_steps.planned(len(items), content, s, how, has_features(events))
    resumed = folder.parent / ".two_tower"
    with durable.locked(resumed):
        work = resumed / fingerprint(plan, content, events)
        model = fit(events, content, plan, s.processes, work)
        factors, taken = towers.tables(model, content)
        durable.save(folder / model_files.FACTORS, factors)
        durable.save(folder / model_files.GRAM, gram(model, taken, tower_sequences.read(work), plan))
        for name, table in towers.user_tower(model, taken)._asdict().items():
            durable.save(folder / files[name], table)
        shutil.rmtree(work)  # what fails before goes on from here
    return TrainingOutcome(items, {"plan": msgspec.to_builtins(plan)}, {"factors": s.factors})


def catalogue(events: DataFrame, s: TwoTower) -> tuple[list[str], Rows]:
    """Returns (item ids in code point order, the hashed tokens of each), of the newest clicks and the catalogue's file.

    An item of the file that nobody clicked is in the model by its content. Raises Refusal if there are no items.
    """
    clicked = events.where(F.col("action") != "search").groupBy("item_id")
    newest = clicked.agg(*map(split.newest, model_folder.CONTENT))
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


def placed(events: Events, items: list[str], among: list[str]) -> Events:
    """Returns the events with the places of the items in a longer list of them."""
    place = {item: n for n, item in enumerate(among)}
    places = np.array([*(place[item] for item in items), UNKNOWN], np.int64)  # UNKNOWN is the last place, too
    return events._replace(items=places[events.items])


def has_features(events: Events) -> bool:
    return events.features is not None and bool((events.features != NO_FEATURE).any())


def fit(events: Events, content: Rows, plan: TrainingPlan, processes: int, work: Path) -> Towers:
    """Trains the towers and returns them as they were when they were best. Raises Refusal if no epoch was any good."""
    work.mkdir(parents=True, exist_ok=True)
    tower_sequences.write(work, events, plan.window)
    tower_training.save(work / tower_training.CONTENT, content)
    (work / tower_training.PLAN).write_bytes(msgspec.json.encode(plan))
    TorchDistributor(num_processes=processes, local_mode=True, use_gpu=False).run(tower_training.run, str(work))
    if not (work / tower_training.CHECKPOINT).exists():
        left = f"the first epoch left numbers that are not finite, at night.two_tower.rate = {plan.rate}"
        raise Refusal(f"two towers must stay finite, and {left}: lower the rate")
    kept = torch.load(work / tower_training.CHECKPOINT, weights_only=True, map_location="cpu")
    model = Towers(tower_steps.shape(plan))
    model.load_state_dict(kept["best_state"])
    sequences = tower_sequences.read(work)
    never = np.bincount(sequences.items[sequences.takes], minlength=model.shape.items) == 0
    with torch.no_grad():  # the id of an item that nobody took has only learnt that it was drawn as a negative
        for side in (model.offered, model.taken):
            side.ids.weight[torch.from_numpy(never)] = 0
    return model


def gram(model: Towers, taken: torch.Tensor, sequences: Sequences, plan: TrainingPlan) -> Float:
    """Returns X'X of the users, (f, f); of more than DRAWN users, of so many, in proportion."""
    count = len(sequences.starts)
    drawn = np.sort(np.random.default_rng(plan.seed).choice(count, min(DRAWN, count), replace=False))
    total = np.zeros((model.shape.factors, model.shape.factors))
    for part in np.split(drawn, range(AT_ONCE, len(drawn), AT_ONCE)):
        users = tower_sequences.known(sequences, sequences.starts[part], sequences.ends[part], plan.window)
        total += als.gram(towers.vectors(model, taken, users))
    return np.asarray(total * (count / len(drawn)))


def fingerprint(plan: TrainingPlan, content: Rows, events: Events) -> str:
    """Returns a hash of all that the training reads."""
    digest = hashlib.sha256(msgspec.json.encode(plan))
    for column in (*content, *events):
        digest.update(b"" if column is None else column.tobytes())
    return digest.hexdigest()[:16]
