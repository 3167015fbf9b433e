"""The lake and the version that `register` made -> the lists of every user and every item, in Redis.

source     lake.clicks: all events of each user, also those that were held out of the training
transform  the model's best items of each user, without seen ones and what infra/config/rules.toml leaves out,
           diversified (udfs/recommenders/nightly_lists.py); popular and trending lists by category and place
           (jobs/batch/publishing/popular.py)
sink       files of infra/versions/list_files.py, one for each part of the users, and from them Redis;
           precompute/precompute.json

A part whose file is there is not computed again, so a killed run goes on where it was. Nobody reads these keys before
`publish` moves `model:current`.

Run: headrace run precompute --date 2026-01-31
"""

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.infra import durable
from headrace.infra.settings import Settings, load
from headrace.infra.versions import list_files, model_files, publication, rules, store
from headrace.infra.versions.store import Manifest, Model
from headrace.jobs.batch import index, night, register
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import listing, popular
from headrace.jobs.batch.publishing.listing import Listing
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder, split
from headrace.schemas import redis_keys
from headrace.udfs.recommenders import contract, nightly_lists
from headrace.udfs.recommenders.factor_scorer import FactorScorer
from headrace.udfs.recommenders.nightly_lists import Catalogue

STEP, PLAN = "precompute", "plan.json"
EVENTS_A_PART, PARTS_MIN = 200_000, 4
USERS_AT_A_TIME, ITEMS_AT_A_TIME = 256, 512
DONE = "part STRING, keys BIGINT"
_held: dict[str, Any] = {}


class ListPlan(NamedTuple):
    """All that a task needs. It travels with the task, since an executor has no settings; it must see the folders."""

    home: Path  # of infra/versions/list_files
    model: Path  # the version's folder
    searched: Path | None  # the index; None: scan
    version: str
    as_of_ms: int
    left_out: tuple[str, ...]
    listing: Listing
    parts: int


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    version = register.version(tonight)
    if list_files.manifest(version) and tonight.is_left(STEP, list_files.folder(version)):
        return
    if tonight.again:
        shutil.rmtree(list_files.folder(version), ignore_errors=True)
    began_s = time.monotonic()
    if list_files.manifest(version) is None:
        compute(tonight, version, settings)
    computed_s = time.monotonic() - began_s
    keys = list_files.load(settings.redis, version, rules.read(Path(settings.night.rules)))
    with tonight.writing(STEP) as folder:
        result = {"version": version, "keys": keys, "compute_s": computed_s}
        result["redis_s"] = time.monotonic() - began_s - computed_s
        durable.write(folder / "precompute.json", msgspec.json.format(msgspec.json.encode(result)))
    print(f"{keys:,} lists of {version} in Redis; computed in {computed_s:.1f} s, written in {result['redis_s']:.1f} s")


def compute(tonight: Night, version: str, settings: Settings) -> None:
    """Writes every file of the version's lists that is not there yet."""
    model, spark = store.load(version), session(STEP)
    clicks = popular.placed(tables.clicks(spark, tonight.date), settings.night)
    plan = _plan(model, listing.of(settings.night, clicks, settings.collaborative.top_n))
    write_recs(clicks, plan)
    write_similar(spark, plan)
    counted = popular.counted(clicks, tonight.date, settings.covisitation.half_life_days)
    values = popular.lists(counted, version, plan.as_of_ms, plan.listing.item_rules.left_out)
    list_files.write(plan.home, "popular", values.keys(), values.values())
    list_files.finish(version)


def _plan(model: Model, how: Listing) -> ListPlan:
    manifest = model.manifest
    home = list_files.folder(manifest.version)
    version = manifest.version, manifest.created_ms, model.contents.left_out
    return ListPlan(home, model.folder, _searched(model, how), *version, how, _parts(home, manifest))


def _searched(model: Model, how: Listing) -> Path | None:
    """Returns the index to search; None: none, or an exact one, which is no faster than our own scan."""
    kind = index.fit(model, how.wish).kind
    return None if kind in (index.FLAT, index.NO_VECTORS) else publication.index(model.manifest.version)


def _parts(home: Path, manifest: Manifest) -> int:
    """Returns the number of parts: an earlier run's if there is one, since a user must stay in their part."""
    if (home / PLAN).is_file():
        return int(msgspec.json.decode((home / PLAN).read_bytes())["parts"])
    parts = max(PARTS_MIN, -(-int(manifest.lineage.get("events", 0)) // EVENTS_A_PART))
    home.mkdir(parents=True, exist_ok=True)
    durable.write(home / PLAN, msgspec.json.encode({"parts": parts}))
    return parts


def write_recs(clicks: DataFrame, plan: ListPlan) -> None:
    """Writes a file for each part of the users."""
    done = [int(path.stem) for path in list_files.files_in(plan.home) if path.stem.isdigit()]
    columns = model_folder.columns(clicks)
    # (user_id, item_id, action, rating, t_ms, ...) of the parts that are not done
    rows = clicks.select(*columns, *split.TIES).where(~F.pmod(F.hash("user_id"), F.lit(plan.parts)).isin(done))
    rows = split.in_order(rows.repartition(plan.parts, "user_id")).select(*columns)
    rows.mapInPandas(lambda batches: _recs(batches, plan), DONE).collect()


def _recs(batches: Iterator[pd.DataFrame], plan: ListPlan) -> Iterator[pd.DataFrame]:
    if given := list(batches):
        values = user_lists(pd.concat(given, ignore_index=True), plan)
        name = f"{TaskContext.get().partitionId():05}"
        keys = [redis_keys.recs(plan.version, user) for user in values]
        list_files.write(plan.home, name, keys, values.values())
        yield pd.DataFrame({"part": [name], "keys": [len(keys)]})


def user_lists(rows: pd.DataFrame, plan: ListPlan) -> dict[str, bytes]:
    """Returns the list of each user who is known. rows: of model_folder.columns, sorted by user and time."""
    catalogue, strength, places = _ready(plan)
    events = model_folder.events(rows, places)
    users = rows["user_id"].to_numpy()[np.flatnonzero(np.diff(events.users, prepend=-1))].tolist()
    lists: dict[str, bytes] = {}
    for first in range(0, len(users), USERS_AT_A_TIME):
        size = min(USERS_AT_A_TIME, len(users) - first)
        own = events.where(slice(*np.searchsorted(events.users, [first, first + size])))  # type: ignore[arg-type]
        past = contract.past(own._replace(users=own.users - first), size, len(places), *strength)
        values = nightly_lists.lists(catalogue, past, plan.listing.wish)
        lists |= {users[first + at]: value for at, value in enumerate(values) if value is not None}
    return lists


def write_similar(spark: SparkSession, plan: ListPlan) -> None:
    done = {path.stem for path in list_files.files_in(plan.home)}
    size = len(model_files.items(plan.model))
    parts = [at for at in range(0, size, 16 * ITEMS_AT_A_TIME) if _similar_name(at) not in done]
    if parts:
        rows = spark.createDataFrame([(at,) for at in parts], "at BIGINT").repartition(len(parts), "at")
        rows.mapInPandas(lambda batches: _similar(batches, plan, size), DONE).collect()


def _similar(batches: Iterator[pd.DataFrame], plan: ListPlan, size: int) -> Iterator[pd.DataFrame]:
    catalogue, _, _ = _ready(plan)
    items = catalogue.recommender.items
    for start in (int(at) for batch in batches for at in batch["at"]):
        lists: dict[str, bytes] = {}
        end = min(start + 16 * ITEMS_AT_A_TIME, size)
        for first in range(start, end, ITEMS_AT_A_TIME):
            places = np.arange(first, min(first + ITEMS_AT_A_TIME, end))
            values = nightly_lists.similar(catalogue, places, plan.listing.wish.n)
            named = zip(places.tolist(), values, strict=True)
            lists |= {redis_keys.similar(plan.version, items[at]): value for at, value in named if value}
        list_files.write(plan.home, _similar_name(start), lists.keys(), lists.values())
        yield pd.DataFrame({"part": [_similar_name(start)], "keys": [len(lists)]})


def _similar_name(start: int) -> str:
    return f"similar-{start:09}"


def _ready(plan: ListPlan) -> tuple[Catalogue, tuple[float, float], dict[str, int]]:
    """Returns what a task searches with. A Python worker keeps it from task to task."""
    if _held.get("plan") != plan:
        recommender, strength = roster.load(plan.model), model_files.description(plan.model).strength
        catalogue = plan.listing.catalogue(recommender, plan.left_out, plan.version, plan.as_of_ms)
        if plan.searched and isinstance(recommender, FactorScorer):
            shown, units = recommender.Y[catalogue.allowed], recommender.units[catalogue.allowed]
            best, alike = (
                index.opened(plan.searched, file, Y).search for file, Y in ((index.BEST, shown), (index.ALIKE, units))
            )
            recommender.searching(best, alike)
        places = {item: place for place, item in enumerate(recommender.items)}
        _held.update(plan=plan, ready=(catalogue, strength, places))
    return _held["ready"]  # type: ignore[no-any-return]


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
