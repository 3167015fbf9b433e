"""How ALS and the two towers grow: seconds and memory with 1, 2, 4 and 8 times the events, users, items, and all.

Cases are made from MovieLens 1M, the training part of NCF. events: a share of them, 1/8 to all, users and items the
same. users: each user's events are dealt out to so many users, events the same. items: likewise. everything: so many
copies of all events, the users of each copy their own. An iteration of ALS is of 64 factors; an epoch of the towers
has their default settings.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import elsewhere
from benchmarks.clicks import DATA
from benchmarks.harness import Result, console, table
from benchmarks.in_batch import asked
from benchmarks.in_batch.asked import Asked
from infra.settings import load

TIMES = (1, 2, 4, 8)
FACTORS, ITERATIONS, EPOCHS = 64, 4, 1
SEED = 1


def main(only: str) -> Result:
    given, rows = asked.ncf(DATA), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        for axis, grown in AXES.items():
            for times in TIMES:
                if re.search(only, axis):
                    asked.save(path, grown(given, times))
                    rows[f"{axis} x{times}"] = measure(path)
                    console.print(f"{axis} x{times}", rows[f"{axis} x{times}"])
    table("growth", ("case", *next(iter(rows.values()))), [(case, *row.values()) for case, row in rows.items()])
    growth = {
        axis: round(rows[f"{axis} x{TIMES[-1]}"]["als_s"] / rows[f"{axis} x{TIMES[0]}"]["als_s"], 2)
        for axis in AXES
        if f"{axis} x{TIMES[0]}" in rows
    }
    conditions: dict[str, Any] = {"factors": FACTORS, "epochs": EPOCHS, "growth of ALS": growth}
    steepest = max(growth.values())
    return Result("growth", rows, {}, round(TIMES[-1] / steepest, 3), "in step with what grows, ALS", "s", conditions)


def measure(path: Path) -> dict[str, Any]:
    of_als = elsewhere.ours("als_run", "ours", path, FACTORS, ITERATIONS, load().night.als.tolerance)
    of_towers = elsewhere.ours("two_tower_run", path, EPOCHS)
    return {
        "als_s": round(float(np.median(of_als["iteration_s"])), 3),
        "als_prepare_s": round(of_als["prepare_s"], 1),
        "als_mb": of_als["peak_mb"],
        "towers_s": round(of_towers["epoch_s"], 2),
        "towers_mb": of_towers["peak_mb"],
    }


def events(given: Asked, times: int) -> Asked:
    kept = np.random.default_rng(SEED).random(len(given.users)) < times / TIMES[-1]
    return given._replace(users=given.users[kept], items=given.items[kept])


def users(given: Asked, times: int) -> Asked:
    dealt = np.random.default_rng(SEED).integers(0, times, len(given.users))
    return given._replace(users=given.users * times + dealt, who=given.who * times)


def items(given: Asked, times: int) -> Asked:
    dealt = np.random.default_rng(SEED).integers(0, times, len(given.items))
    return given._replace(items=given.items * times + dealt, candidates=given.candidates * times)


def everything(given: Asked, times: int) -> Asked:
    copy = np.repeat(np.arange(times), len(given.users))
    return given._replace(users=np.tile(given.users, times) * times + copy, items=np.tile(given.items, times))


AXES: dict[str, Callable[[Asked, int], Asked]] = {
    "events": events,
    "users": users,
    "items": items,
    "everything": everything,
}
