"""The whole night on MovieLens 1M: seconds by task, and how they grow with four times the events.

HEADRACE_DATA names the folder that has ml-1m. Its ratings have no times and come user by user, so each user's ratings
are spread evenly over 30 days. Four times the events are four times the users: each copy is a user of its own.
"""

import re
import shutil
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import airflow_runs, gantt, stack
from benchmarks.clicks import DATA
from benchmarks.harness import Result, table
from headrace.infra import paths
from headrace.infra.errors import HeadraceError

COPIES = (1, 4)
DAYS, DAY_MS, BEGIN_MS = 30, 86_400_000, 1_767_225_600_000  # 2026-01-01, so that the last day is NIGHT
NIGHT = "2026-01-30"
PICTURE = paths.PACKAGE / "docs" / "night.svg"


def main(only: str) -> Result:
    """only: such as x1, for the picture without the growth, which takes an hour."""
    ratings = pq.read_table(DATA / "ml-1m" / "ratings_no_timestamp.parquet")
    sizes = [copies for copies in COPIES if not only or re.search(only, f"x{copies}")]
    runs = {copies: _night(ratings, copies) for copies in sizes}
    once, largest = runs[sizes[0]], sizes[-1]
    PICTURE.write_text(gantt.svg(f"A night on MovieLens 1M: {once.seconds:.0f} s", once.tasks))
    seconds = {run: {bar.label: round(bar.end_s - bar.begin_s, 1) for bar in runs[run].tasks} for run in sizes}
    rows = [
        (name, took_s, f"{took_s / once.seconds:.0%}", seconds[largest].get(name, 0.0))
        for name, took_s in seconds[sizes[0]].items()
    ]
    table("a night, s", ("task", f"x{sizes[0]}", "share", f"x{largest}"), rows)
    ours: dict[str, Any] = {f"x{copies}, whole": round(run.seconds, 1) for copies, run in runs.items()}
    ours |= {f"x{copies}": seconds[copies] for copies in sizes}
    growth = runs[largest].seconds / once.seconds
    conditions = {"events": len(ratings), "runner": "headrace retrain", "growth": round(growth, 2)}
    return Result(
        "night", ours, {}, round(largest / sizes[0] / growth, 3), "growth in step with the events", "s", conditions
    )


def _night(ratings: pa.Table, copies: int) -> airflow_runs.Run:
    """One run, from an empty home."""
    stack.headrace("down", "--forget", "--yes")
    for name in ("nights", "lake", "mlflow", "indexes"):
        shutil.rmtree(stack.HOME / name, ignore_errors=True)
    stack.up()
    file = stack.HOME / f"ratings-x{copies}.parquet"
    pq.write_table(_events(ratings, copies), file)
    stack.headrace("import", str(file), "--default", "action=rate", "--time", "ms")
    stack.headrace("retrain", "--date", NIGHT)
    run = airflow_runs.last(stack.HOME)
    if run.state != "success":
        raise HeadraceError(f"the night with {copies} times the events ended as {run.state}")
    return run


def _events(ratings: pa.Table, copies: int) -> pa.Table:
    """Columns of schemas/click.avsc."""
    n = len(ratings)
    users = np.concatenate([np.char.add(ratings["user"].to_numpy().astype(str), f"-{copy}") for copy in range(copies)])
    items, values = ratings["movie"].to_numpy().astype(str), ratings["rating"].to_numpy().astype(np.float64)
    columns = {
        "event_id": np.arange(n * copies).astype(str),
        "user_id": users,
        "item_id": np.tile(items, copies),
        "rating": np.tile(values, copies),
        "ts_ms": np.tile(_times_ms(ratings["user"].to_numpy()), copies),
    }
    return pa.table(columns)


def _times_ms(users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each user's events stand together: the first early on the first day, the last late on the last."""
    _, first, place, count = np.unique(users, return_index=True, return_inverse=True, return_counts=True)
    share = (np.arange(len(users)) - first[place] + 0.5) / count[place]
    return (BEGIN_MS + share * DAYS * DAY_MS).astype(np.int64)
