"""A DAG run by Airflow against a stack as `headrace retrain` runs the night: `main`, in Airflow's environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headrace.infra import paths
from headrace.infra.settings import load
from headrace.infra.stack import airflow_home

needed = pytest.mark.skipif(not paths.python("airflow").exists(), reason="needs `make airflow`")


class Run(NamedTuple):
    tasks: dict[str, list[Any]]  # by id: state, tries
    said: str


def run(dag: str, **conf: object) -> Run:
    """Runs a DAG. conf: its parameters."""
    airflow_home.prepare(load())
    command = [str(airflow_home.python()), "-m", __name__, dag, json.dumps(conf)]
    quick = airflow_home.environment() | {"HEADRACE_AIRFLOW__RETRY_DELAY_S": "1"}
    done = subprocess.run(command, env=quick, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return Run(json.loads(done.stdout.splitlines()[-1]), done.stdout)


def main(name: str, conf: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(dag_folder=Path(paths.PACKAGE) / "dags" / f"{name}.py").dags[name]
    ended = dag.test(run_conf=json.loads(conf))
    print(json.dumps({each.task_id: [each.state, each.try_number] for each in ended.get_task_instances()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
