"""The night's version serves from now on: the pointer moves, then Redis's `model:current`, then MLflow's aliases.

source     the version that `register` made, whose lists `precompute` has written and `verify` has found right
transform  none
sink       {home}/models/current.json, Redis headrace.schemas.redis_keys.model_current(), MLflow's champion and
           previous; publish/published.json

A rerun completes what died half-way; readers see the old version or the new one. A night moves the pointer once: a
rollback stays in force whatever is run again, until `headrace publish VERSION` or --again. A night that is older than
one that has served is refused. The aliases follow when they can: without MLflow the version serves all the same.

Run: headrace run publish --date 2026-01-31
"""

import argparse
import time
from pathlib import Path

import msgspec

from headrace.infra import durable
from headrace.infra.errors import HeadraceError, describe
from headrace.infra.settings import Settings, load
from headrace.infra.versions import list_files, publication, rules, store
from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Pointer
from headrace.jobs.batch import night, register, verify
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import registry
from headrace.schemas import redis_keys

STEP, RESULT = "publish", "published.json"


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    version = register.version(tonight)
    if has_published(tonight, version) and tonight.is_left(STEP, f"version {version}"):
        return
    prepare(tonight, settings, version)
    pointer = store.publish_night(version, tonight.date, time.time_ns() // 1_000_000, tonight.again)
    publication.project(settings, with_lists=False)
    follow(settings)
    with tonight.writing(STEP) as folder:
        durable.write(folder / RESULT, msgspec.json.encode(pointer))
    if pointer.version == version:
        print(f"{version} serves (before: {pointer.previous or 'none'})")
    else:
        print(f"{version} has served; {pointer.version}, which was published after it, stays")


def has_published(tonight: Night, version: str) -> bool:
    """Returns whether the night has published this version, and not an earlier one of `register`."""
    path = tonight.folder / STEP / RESULT
    if not path.is_file():
        return False
    pointer = msgspec.json.decode(path.read_bytes(), type=Pointer)
    return version in (pointer.version, pointer.newest and pointer.newest.version)


def prepare(tonight: Night, settings: Settings, version: str) -> None:
    """Raises HeadraceError or RedisError unless everything that readers will get is there and right."""
    if list_files.manifest(version) is None:
        raise HeadraceError(f"{version}: its lists must be whole: `headrace run precompute --date {tonight.date}`")
    if verify.verified(tonight) != version:
        raise HeadraceError(f"{version}: its lists must be right: `headrace run verify --date {tonight.date}`")
    # Without Redis, or with wrong rules, the stream would move to the version and readers would not.
    settings.redis.client().ping()
    obeyed = rules.in_stock(Path(settings.night.rules), store.items(version))
    users, others = verify.sample(version, obeyed)
    lists = {key: set[str]() for key in (*(redis_keys.recs(version, user) for user in users), *others)}
    if any(verify.faults(settings, version, lists, ItemRules())):  # Redis has lost them since `verify`
        list_files.load(settings.redis, version, obeyed)
    publication.show_popular(settings, version, obeyed)
    verify.demand(version, verify.faults(settings, version, verify.popular(version), obeyed))


def follow(settings: Settings) -> None:
    """Lets MLflow's aliases follow the pointer. Without MLflow the next publication, rollback or upkeep does it."""
    try:
        move_aliases(settings)
    except Exception as error:  # of MLflow, its database or its server
        print(f"MLflow's aliases did not follow: {describe(error)}")


def move_aliases(settings: Settings) -> None:
    mlflow = registry.client(settings.night)
    with publication.projecting():
        registry.follow(mlflow)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
