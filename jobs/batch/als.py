"""Implicit ALS of a night's events: item factors for the night, and for the stream, which folds users in with them.

source     {lake}/clicks up to the night, without what the split holds out
transform  strengths (udfs/factors/confidence.py) -> users and items in blocks -> udfs/factors/als_sweep.py on each
           block, in turns
sink       {home}/nights/{date}/als/, as jobs/batch/training/model_folder.py describes it

Run: headrace run als --date 2026-01-31

Each half of an iteration broadcasts the factors of one side and collects those of the other. On one machine, children
of the driver inherit and send them. So the factors of the larger side, rows x factors x 4 bytes, must fit the driver
and each Python worker: 2 GB are 8 million users at 64 factors.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Als, load
from headrace.infra.versions.store import Contents
from headrace.jobs.batch import night
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.spark import session
from headrace.jobs.batch.training import blocks, model_folder, split, warm_start
from headrace.jobs.batch.training.blocks import Matrix, Side
from headrace.jobs.batch.training.local import Training
from headrace.jobs.batch.training.model_folder import Trained
from headrace.udfs.factors import als, als_sweep
from headrace.udfs.factors.als import Basis, Objective, Real
from headrace.udfs.factors.als_sweep import TOLERANCE, Float32

STEP = "als"


class Fitted(NamedTuple):
    X: Float32  # (n, f), users by user_id
    Y: Float32  # (m, f)
    objective: float  # the equation of udfs/factors/als.py, with both sides' regularisation


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load()
    if tonight.is_left(STEP):
        return
    how = training(settings.night.als, settings.session.history)
    with tonight.writing(STEP) as draft:
        events = read(session(STEP), tonight, settings.night.protocol)
        contents, described = build(events, how, tonight, settings.night.protocol, settings.night.als.tolerance)
        model_folder.write(draft, contents, described)
    print(f"{STEP} of {tonight.date}: {described.dims} in {described.seconds:.1f} s: {tonight.folder / STEP}")


def training(settings: Als, history: int) -> Training:
    s = settings
    objective = als.ials(s.alpha, s.reg, s.unobserved, s.nu)
    half_life_ms = s.half_life_days * night.DAY_MS
    return Training(s.factors, s.iterations, objective, half_life_ms, s.rating_max, history, s.seed)


def read(spark: SparkSession, tonight: Night, protocol: str) -> DataFrame:
    from headrace.jobs.batch.lake import tables

    return split.trained_on(tables.clicks(spark, tonight.date), protocol).select(*model_folder.COLUMNS, *split.TIES)


def build(
    events: DataFrame, how: Training, tonight: Night, protocol: str, tolerance: float = TOLERANCE
) -> tuple[Contents, Trained]:
    """Trains on all of `events`. Raises HeadraceError without items, with one user, or if factors are not finite."""
    began = time.monotonic()
    events = blocks.kept(events)
    lineage = model_folder.lineage(tonight, protocol, events)
    items = item_ids(events)
    start, lineage["warm_start"] = warm_start.factors(items, how, tonight, STEP, protocol)
    count = blocks.count(lineage["events"], events.sparkSession.sparkContext.defaultParallelism)
    strengths = blocks.matrix(events, items, how, count)
    events.unpersist()
    fitted = fit(strengths, start, how, tolerance)
    strengths.unpersist()
    popular = model_folder.popular(items, strengths.by_item.lengths)
    dims = {"items": len(items), "factors": how.factors, "users": len(fitted.X)}
    contents = Contents(fitted.Y, als.gram(fitted.X), items, popular)
    parameters = how.parameters() | {"tolerance": tolerance}
    seconds = round(time.monotonic() - began, 3)
    return contents, Trained(kind=STEP, dims=dims, parameters=parameters, lineage=lineage, seconds=seconds)


def item_ids(events: DataFrame) -> list[str]:
    """Returns the items of the events, in code point order; a search names no item. Raises Refusal if none."""
    rows = events.where(F.col("action") != "search").select("item_id").distinct().collect()  # (item_id,)
    if not rows:
        raise split.nothing_left()
    return sorted(row.item_id for row in rows)


def fit(strengths: Matrix, Y: Real, how: Training, tolerance: float = TOLERANCE) -> Fitted:
    """Returns the factors after the last iteration, and prints each. Raises HeadraceError if they are not finite."""
    if len(strengths.by_user.lengths) < 2:
        raise HeadraceError(f"training needs at least 2 users, got {len(strengths.by_user.lengths)}")
    if not np.isfinite(Y).all():
        raise HeadraceError("factors must be finite, got NaN or infinite ones from the warm start")
    began, fitted = time.monotonic(), None
    for number, fitted in enumerate(iterations(strengths, Y, how, tolerance), 1):
        took_s, began = time.monotonic() - began, time.monotonic()
        print(f"iteration {number}/{how.iterations}: objective {fitted.objective:,.1f}, {took_s:.2f} s", flush=True)
        if not np.isfinite(fitted.objective):
            raise HeadraceError(f"factors must be finite, got an objective of {fitted.objective} in iteration {number}")
    assert fitted is not None
    return fitted


def iterations(strengths: Matrix, Y: Real, how: Training, tolerance: float = TOLERANCE) -> Iterator[Fitted]:
    """Yields the factors after each iteration. Y: the items' initial factors, or older ones for a warm start."""
    users = strengths.by_user.lengths
    for _ in range(how.iterations):
        X, _ = _half(strengths.by_user, als.basis(Y), how.objective, tolerance)
        other = als.basis(X)
        Y, objective = _half(strengths.by_item, other, how.objective, tolerance)
        X = np.asarray(other.factors, np.float32)
        yield Fitted(X, Y, objective + als_sweep.penalty(X, users, len(Y), how.objective))


def _half(side: Side, other: Basis, objective: Objective, tolerance: float) -> als_sweep.Half:
    """Returns the best factors of one side, in the basis of the other."""
    with side.shared(other) as there:
        halves = side.map(lambda rows: als_sweep.sweep(there(), rows, objective, tolerance))
    return als_sweep.Half(np.concatenate([half.X for half in halves]), sum(half.objective for half in halves))


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
