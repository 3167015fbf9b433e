"""`headrace retrain`: runs the night's DAG in the airflow environment, without a scheduler.

dags/night_at_once.py reports each step on a pipe of its own. Everything that Airflow prints goes to a log.
"""

import contextlib
import json
import os
import subprocess
from datetime import date
from pathlib import Path
from typing import NamedTuple, Protocol

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import airflow_home


class StepReport(NamedTuple):
    step: str
    state: str  # running, up_for_retry, success, failed, refused, skipped, upstream_failed
    seconds: float | None = None
    said: str = ""  # the last line that the step printed, or why it ended


class Show(Protocol):
    def begins(self, day: date, log: str) -> None: ...
    def step(self, report: StepReport) -> None: ...
    def ends(self) -> None: ...


class RetrainedNight(NamedTuple):
    status: int  # 0, 1 if it failed, errors.REFUSED
    steps: list[StepReport]  # as they ended; one that was tried again is there twice
    log: Path


def run(settings: Settings, day: date, models: list[str], dry_run: bool, show: Show) -> RetrainedNight:
    arguments = ["--date", day.isoformat()]
    arguments += ["--models", ",".join(models)] if models else []
    arguments += ["--dry-run"] if dry_run else []
    log = paths.logs() / f"retrain-{day}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    show.begins(day, str(log))
    try:
        airflow_home.prepare(settings)
        night = _follow(arguments, log, show)
    finally:
        show.ends()
    if night.status and not night.steps:
        lines = log.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "Airflow printed nothing")
        raise HeadraceError(f"the night of {day} did not begin: {last} (all of it: {log})")
    return night


def _follow(arguments: list[str], log: Path, show: Show) -> RetrainedNight:
    reading, writing = os.pipe()
    command = [str(airflow_home.python()), "-m", "headrace.dags.night_at_once", "--report", str(writing), *arguments]
    ended: list[StepReport] = []
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=airflow_home.environment(), stdout=output, stderr=subprocess.STDOUT, pass_fds=(writing,)
        )
        os.close(writing)
        with process, open(reading) as lines, contextlib.suppress(KeyboardInterrupt):
            for line in lines:
                report = StepReport(**json.loads(line))
                show.step(report)
                ended += [report] * (report.state != "running")
    return RetrainedNight(process.returncode, ended, log)
