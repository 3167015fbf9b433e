"""Implicit ALS over Spark: strengths in blocks of users and of items, udfs/factors/als_sweep.py on each, in turns.

Each half of an iteration broadcasts the factors of one side and collects those of the other. On one machine, children
of the driver inherit and send them. So the factors of the larger side, rows x factors x 4 bytes, must fit the driver
and each Python worker: 2 GB are 8 million users at 64 factors.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Als
from headrace.jobs.batch.night import DAY_MS
from headrace.jobs.batch.training.blocks import Matrix, Side
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als, als_sweep
from headrace.udfs.factors.als import Basis, Objective, Real
from headrace.udfs.factors.als_sweep import TOLERANCE, Float32


class Fitted(NamedTuple):
    X: Float32  # (n, f), users by user_id
    Y: Float32  # (m, f)
    objective: float  # the equation of udfs/factors/als.py, with both sides' regularisation


def training(settings: Als, history: int) -> Training:
    s = settings
    objective = als.ials(s.alpha, s.reg, s.unobserved, s.nu)
    half_life_ms = s.half_life_days * DAY_MS
    return Training(s.factors, s.iterations, objective, half_life_ms, s.rating_max, history, s.seed)


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
