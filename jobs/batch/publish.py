"""The night's version serves from now on: the pointer moves, then Redis's `model:current`, then MLflow's aliases.

source     the version that `register` made, whose lists `precompute` has written
transform  none
sink       {home}/models/current.json, Redis headrace.schemas.redis_keys.model_current(), MLflow's champion and
           previous; publish/published.json

A rerun completes what died half-way; readers see the old version or the new one. A rerun of a night that has published
does not publish again, so a rollback stays in force: `headrace publish VERSION` undoes it.

Run: headrace run publish --date 2026-01-31
"""

import argparse
import time
from pathlib import Path

import msgspec

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings, load
from headrace.infra.versions import list_files, publication, rules, store
from headrace.jobs.batch import night, register
from headrace.jobs.batch.publishing import registry

STEP = "publish"


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    version = register.version(tonight)
    if tonight.is_left(STEP, f"version {version}"):
        return
    if list_files.manifest(version) is None:
        raise HeadraceError(f"{version}: its lists must be whole: `headrace run precompute --date {tonight.date}`")
    # Without Redis, or with wrong rules, the stream would move to the version and readers would not.
    settings.redis.client().ping()
    rules.in_stock(Path(settings.night.rules), store.items(version))
    pointer = store.publish(version, time.time_ns() // 1_000_000)
    publication.project(settings, with_lists=False)
    move_aliases(settings)
    with tonight.writing(STEP) as folder:
        durable.write(folder / "published.json", msgspec.json.encode(pointer))
    print(f"{pointer.version} serves (before: {pointer.previous or 'none'})")


def move_aliases(settings: Settings) -> None:
    mlflow = registry.client(settings.night)
    with publication.projecting():
        registry.follow(mlflow)


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
