"""Airflow's own cost: seconds to load the DAGs, and seconds per task of a night whose jobs do nothing."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks import airflow_runs
from benchmarks.harness import Result, show_round, table
from headrace.infra import paths
from tests.dags.checkout import STEPS, Checkout

LOAD_MAX_S = 5.0  # the aim
WAIT_S = 300
TASKS = len(STEPS) + 1
LOAD = """
import json, sys, time
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
began = time.monotonic(), time.process_time()
bag = DagBag(dag_folder=sys.argv[1])
assert bag.dags and not bag.import_errors, bag.import_errors
print(json.dumps([time.monotonic() - began[0], time.process_time() - began[1]]))
"""
NAMES = ("load, wall", "load, CPU", "a task without scheduler", "a task by the scheduler", "a job alone")


def main(rounds: int) -> Result:
    figures: dict[str, list[float]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory(prefix="headrace-airflow-") as folder:
        checkout = Checkout.make(Path(folder))
        checkout.retrain("--date", "2025-12-31")  # the database is there then
        for number in range(1, rounds + 1):
            for name, value in zip(NAMES, _round(checkout, number), strict=True):
                figures[name].append(round(value, 3))
            show_round(number, rounds, figures, "s")
    medians = {name: median(each) for name, each in figures.items()}
    table("Airflow, s", ("what", "median", "each round"), [(name, medians[name], figures[name]) for name in NAMES])
    conditions = {"tasks": TASKS, "dags": "all of dags/", "executor": "LocalExecutor, SQLite", "each round": figures}
    ratio = round(LOAD_MAX_S / medians["load, wall"], 3)
    return Result(
        "airflow_overhead", medians, {}, ratio, f"the aim, {LOAD_MAX_S:.0f} s to load the DAGs", "s", conditions
    )


def _round(checkout: Checkout, number: int) -> tuple[float, ...]:
    load_s, load_cpu_s = _load(checkout)
    checkout.retrain("--date", f"2026-01-{number:02}")
    alone = airflow_runs.last(checkout.home)
    scheduled = _scheduled(checkout, f"2026-02-{number:02}")
    return load_s, load_cpu_s, alone.seconds / TASKS, scheduled.seconds / TASKS, _job_alone(checkout)


def _load(checkout: Checkout) -> tuple[float, float]:
    environment = checkout.environment() | {"AIRFLOW_HOME": str(checkout.home / "airflow")}
    command = [str(paths.python("airflow")), "-c", LOAD, str(checkout.folder / "dags")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall_s, cpu_s = json.loads(done.stdout.splitlines()[-1])
    return wall_s, cpu_s


def _scheduled(checkout: Checkout, night: str) -> airflow_runs.Run:
    headrace = [sys.executable, "-m", "headrace", "airflow"]
    environment = checkout.environment() | {"AIRFLOW_HOME": str(checkout.home / "airflow")}
    airflow = str(paths.python("airflow").with_name("airflow"))
    subprocess.run([*headrace, "up"], env=environment, cwd=checkout.folder, check=True)
    try:
        for command in (["unpause"], ["trigger", "--conf", json.dumps({"date": night})]):
            subprocess.run(
                [airflow, "dags", *command, "nightly_retrain"], env=environment, capture_output=True, check=True
            )
        return _ended(checkout)
    finally:
        subprocess.run([*headrace, "down"], env=environment, cwd=checkout.folder, check=True)


def _ended(checkout: Checkout) -> airflow_runs.Run:
    deadline = time.monotonic() + WAIT_S
    while (run := airflow_runs.last(checkout.home)).state not in ("success", "failed") or not run.seconds:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the night is {run.state} after {WAIT_S} s")
        time.sleep(1)
    if run.state != "success":
        raise RuntimeError("the night of jobs that do nothing failed")
    return run


def _job_alone(checkout: Checkout) -> float:
    """What a task's process costs without Airflow."""
    began_s = time.monotonic()
    command = [str(paths.python("airflow")), "-m", "headrace.jobs.batch.land", "--date", "2025-12-31"]
    subprocess.run(command, env=checkout.environment(), cwd=checkout.folder, check=True)
    return time.monotonic() - began_s
