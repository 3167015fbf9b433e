"""Trains a family on a night's events: the step of every name in night.models.

source     {lake}/clicks up to the night, without what the split holds out; an earlier model of the family
transform  the family's own (jobs/batch/families, docs/families.md)
sink       {home}/nights/{date}/{name}/: the family's files, and those of infra/versions/model_files.py

Run: headrace run als --date 2026-01-31        (or another family, or module:NAME of your own)
"""

import argparse
import time
from pathlib import Path

from pyspark.sql import SparkSession

from headrace.infra.errors import HeadraceError
from headrace.infra.extensions import label
from headrace.infra.settings import Settings, load
from headrace.infra.versions.model_files import Trained
from headrace.jobs.batch import night
from headrace.jobs.batch.families import roster
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.night import DAY_MS, Night
from headrace.jobs.batch.publishing import popular
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import model_folder, split, warm_start
from headrace.jobs.batch.training.blocks import Strength
from headrace.jobs.batch.training.night_data import NightData


def main(options: argparse.Namespace) -> None:
    tonight, settings, name = night.of(options), load(), options.family
    step, own = label(name), roster.settings(name, settings.night)
    if tonight.is_left(step):
        return
    data = read(session(step), tonight, settings)
    with tonight.writing(step) as draft:
        trained = build(draft, name, data, own, tonight, settings.night.protocol)
    print(f"{step} of {tonight.date}: {trained.dims} in {trained.seconds:.1f} s: {tonight.folder / step}")


def read(spark: SparkSession, tonight: Night, settings: Settings) -> NightData:
    clicks = popular.placed(tables.clicks(spark, tonight.date), settings.night)
    trained_on = split.trained_on(clicks, settings.night.protocol)
    strength = Strength(settings.night.als.half_life_days * DAY_MS, settings.night.als.rating_max)
    content = [name for name in model_folder.CONTENT if name in clicks.columns]
    columns = [*model_folder.columns(clicks), *split.TIES, *content]
    return NightData(trained_on.select(*columns), strength, settings.session.history)


def build(draft: Path, name: str, data: NightData, settings: object, tonight: Night, protocol: str) -> Trained:
    """Fills a folder with a model of the family. Raises HeadraceError if the family breaks the contract."""
    began, family = time.monotonic(), roster.family(name)
    previous = warm_start.previous(tonight, name, protocol)
    lineage = model_folder.lineage(tonight, protocol, data.events, data.size)
    outcome = family.train(data, settings, draft, previous)
    strength = data.strength._asdict() | {"history": data.history}
    trained = Trained(
        kind=name,
        dims={"items": len(outcome.items), "users": data.users, **outcome.dims},
        parameters=strength | outcome.parameters,
        lineage=lineage | dict(outcome.lineage),
        seconds=round(time.monotonic() - began, 3),
    )
    model_folder.write(draft, outcome.items, model_folder.popular(data.items, data.item_users), trained)
    if faults := roster.load(draft).sound():
        raise HeadraceError(f"{name} must be sound: {'; '.join(faults)}")
    return trained


def arguments() -> argparse.ArgumentParser:
    parser = night.arguments(__doc__)
    parser.usage = "headrace run FAMILY [-h] [--date D] [--again]"
    parser.add_argument("family", help="of docs/families.md, or module:NAME", metavar="FAMILY")
    return parser


if __name__ == "__main__":
    night.run(main, arguments())
