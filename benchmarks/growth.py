"""How ALS and the two towers grow: seconds and memory with multiples of the events, the users and the items.

Cases are made from MovieLens 1M, the training part of NCF. events: so many copies of all events, each copy with users
of its own. users: each user's events are shared among so many users. items: each item's events are shared among so many
items. An iteration of ALS has 64 factors; an epoch of the towers has their default settings.
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
from headrace.infra.settings import load

FACTORS, ITERATIONS, EPOCHS = 64, 4, 1
SEED = 1


def main(only: str) -> Result:
    """only: such as users."""
    given, rows = asked.ncf(DATA), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        for axis, times in CASES:
            if re.search(only, axis):
                asked.save(path, GROWN[axis](given, times))
                rows[f"{axis} x{times}"] = measure(path)
                console.print(f"{axis} x{times}", rows[f"{axis} x{times}"])
    table("growth", ("case", *next(iter(rows.values()))), [(case, *row.values()) for case, row in rows.items()])
    conditions = {"factors": FACTORS, "ALS": "seconds an iteration", "towers": "seconds an epoch"}
    steps = rows["events x8"]["als_s"] / rows["events x1"]["als_s"] if "events x8" in rows else None
    ratio = None if steps is None else round(8 / steps, 3)
    return Result("growth", rows, {}, ratio, "ALS in step with the events, x8", "s", conditions)


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
    copy = np.repeat(np.arange(times), len(given.users))
    return given._replace(users=np.tile(given.users, times) * times + copy, items=np.tile(given.items, times))


def users(given: Asked, times: int) -> Asked:
    dealt = np.random.default_rng(SEED).integers(0, times, len(given.users))
    return given._replace(users=given.users * times + dealt, who=given.who * times)


def items(given: Asked, times: int) -> Asked:
    dealt = np.random.default_rng(SEED).integers(0, times, len(given.items))
    return given._replace(items=given.items * times + dealt, candidates=given.candidates * times)


GROWN: dict[str, Callable[[Asked, int], Asked]] = {"events": events, "users": users, "items": items}
CASES = [("events", 1), ("events", 2), ("events", 4), ("events", 8)]
CASES += [("users", 2), ("users", 8), ("items", 2), ("items", 8)]
