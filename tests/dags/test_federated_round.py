"""The DAG of federated rounds: the command it would run, read by that command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from headrace.infra import paths
from headrace.infra.cli.main import app

pytestmark = pytest.mark.airflow
RENDERED = """
import json, sys
from airflow.sdk.definitions.param import process_params
from headrace.dags.federated_round import dag
params = process_params(dag, dag.get_task("rounds"), json.loads(sys.argv[1]), suppress_exception=False)
arguments = dag.get_task("rounds").render_template(dag.get_task("rounds").arguments, {"params": params})
print(json.dumps([dag.schedule, arguments]))
"""
NIGHT = """
import json
from headrace.dags.nightly_retrain import dag
tasks = ("two_tower", "federated", "collect")
print(json.dumps({name: sorted(dag.get_task(name).upstream_task_ids) for name in tasks}))
"""


def printed(program: str, folder: Path, conf: dict[str, Any], **settings: str) -> Any:
    """Returns what a program that reads a DAG prints. conf: parameters of a run."""
    ours = {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(paths.PACKAGE)}
    ours |= {f"HEADRACE_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-c", program, json.dumps(conf)]
    done = subprocess.run(command, env=os.environ | ours, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Lets the `headrace` command parse the arguments: returns the command it finds, and its options."""
    group: Any = typer.main.get_command(app)
    context = None
    while hasattr(group, "resolve_command"):
        context = typer.Context(group, parent=context)
        _, group, arguments = group.resolve_command(context, arguments)
    return group.name, group.make_context(group.name, list(arguments), parent=context).params


def test_its_command_line_is_one_that_the_coordinator_takes(tmp_path: Path) -> None:
    schedule, arguments = printed(RENDERED, tmp_path, {}, FEDERATED__RULE="fedadam", FEDERATED__EPSILON="4.5")
    command, options = parsed(arguments)
    assert (schedule, command) == (None, "coordinator")
    assert {name: value for name, value in options.items() if value} == {
        "model": "items", "rounds": 20, "at_most": 1, "first": 1, "clip": 0.3, "epsilon": 4.5, "rule": "fedadam",
        "rate": 0.3,
    }  # fmt: skip


def test_a_run_may_ask_for_other_terms(tmp_path: Path) -> None:
    asked = {"model": "two words", "rounds": 3, "at_most": 2, "clip": 0.5, "quorum": 5, "epsilon": 0, "rule": "fedavg"}
    schedule, arguments = printed(RENDERED, tmp_path, asked, FEDERATED__SCHEDULE="0 1 * * *")
    assert schedule == "0 1 * * *"
    assert {name: value for name, value in parsed(arguments)[1].items() if name in asked} == asked


def test_the_night_fuses_what_was_learnt_with_its_als_if_its_models_name_it(tmp_path: Path) -> None:
    models = ["als", "two_tower", "federated"]
    after = printed(NIGHT, tmp_path, {}, NIGHT__MODELS=json.dumps(models))
    assert after == {"two_tower": ["check"], "federated": ["als", "check"], "collect": sorted(models)}
