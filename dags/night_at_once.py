"""`headrace retrain`: runs the night of a date at once, in this process, without a scheduler; exit 3 if it was refused.

A step that begins or ends writes a line of JSON to the file descriptor --report (infra/launch/retrain.py). Airflow's
database keeps the run like any other, so Airflow's page shows it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TextIO

from headrace.dags.nightly_retrain import dag, models
from headrace.dags.operators import Refused
from headrace.infra.errors import REFUSED

CALLBACKS = {
    "on_execute_callback": "running",
    "on_retry_callback": "up_for_retry",
    "on_success_callback": "success",
    "on_failure_callback": "failed",
    "on_skipped_callback": "skipped",
}


class Reporter:
    """Reports each task of the DAG as it begins and ends."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.states: dict[str, str] = {}  # by task, its last state

    def follow(self) -> None:
        for task in dag.tasks:
            for name, state in CALLBACKS.items():
                setattr(task, name, [*getattr(task, name), self._callback(state)])

    def _callback(self, state: str) -> Callable[[Any], None]:
        def note(context: Any) -> None:
            instance, error = context["task_instance"], context.get("exception")
            outcome = "refused" if isinstance(error, Refused) else state
            seconds = None if state == "running" else (datetime.now(UTC) - instance.start_date).total_seconds()
            last_line = str(error).removeprefix("refused: ") if error else getattr(instance.task, "said", "")
            self.tell(instance.task_id, outcome, seconds, last_line)

        return note

    def tell(self, step: str, state: str, seconds: float | None = None, said: str = "") -> None:
        self.states[step] = state
        report = {"step": step, "state": state, "seconds": seconds, "said": said}
        print(json.dumps(report), file=self.stream, flush=True)


def main(conf: dict[str, Any], stream: TextIO) -> int:
    reporter = Reporter(stream)
    reporter.follow()
    run = dag.test(run_conf=conf)
    for instance in run.get_task_instances():
        if instance.task_id not in reporter.states:  # it never began, since a step before it failed or was skipped
            reporter.tell(instance.task_id, str(instance.state))
    return exit_status(reporter.states)


def exit_status(by_task: dict[str, str]) -> int:
    """Returns REFUSED only if no step failed: a failed step may pass when it is run again, a refusal stays.

    A model that failed does not count if the night went on without it.
    """
    spared = {each.task_id for each in models.values()} if by_task.get("collect") == "success" else set()
    states = {state for name, state in by_task.items() if name not in spared}
    if states <= {"success", "skipped"}:
        return 0
    return REFUSED if "refused" in states and "failed" not in states else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=date.fromisoformat)
    parser.add_argument("--models", type=lambda text: text.split(","))
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--report", type=int, default=1, help="file descriptor; 1: standard output")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    with os.fdopen(given.pop("report"), "w") as report:
        conf = {name: value.isoformat() if isinstance(value, date) else value for name, value in given.items()}
        status = main(conf, report)
    sys.exit(status)
