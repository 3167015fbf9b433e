"""When each task of a run of nightly_retrain ran, from Airflow's database."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.gantt import Bar

TASKS = "SELECT task_id, start_date, end_date FROM task_instance WHERE run_id = ? AND start_date IS NOT NULL ORDER BY 2"
LAST = (
    "SELECT run_id, state, start_date, end_date FROM dag_run WHERE dag_id = 'nightly_retrain' ORDER BY id DESC LIMIT 1"
)


class Run(NamedTuple):
    state: str
    seconds: float
    tasks: list[Bar]


def last(home: Path) -> Run:
    with sqlite3.connect(home / "airflow" / "airflow.db", timeout=30) as database:
        run_id, state, begin, end = database.execute(LAST).fetchone()
        rows = database.execute(TASKS, (run_id,)).fetchall()
    if not rows or not end:
        return Run(state, 0.0, [])
    first_s = min(_seconds(row[1]) for row in rows)
    bars = [Bar(name, _seconds(start) - first_s, _seconds(stop) - first_s) for name, start, stop in rows if stop]
    return Run(state, _seconds(end) - _seconds(begin), bars)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
