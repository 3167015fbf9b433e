"""A DAG run by Airflow against a stack, as `headrace retrain` runs the night: `main`, in the environment of Airflow."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra import airflow, places
from infra.settings import load

needed = pytest.mark.skipif(not places.python("airflow").exists(), reason="needs `make airflow`")


class Run(NamedTuple):
    tasks: dict[str, list[Any]]  # by id: state, tries
    said: str


def run(dag: str, **conf: object) -> Run:
    """conf: its parameters."""
    airflow.prepare(load())
    command = [str(airflow.python()), "-m", __name__, dag, json.dumps(conf)]
    quick = airflow.environment() | {"HEADRACE_AIRFLOW__RETRY_DELAY_S": "1"}
    done = subprocess.run(command, env=quick, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return Run(json.loads(done.stdout.splitlines()[-1]), done.stdout)


def main(name: str, conf: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(dag_folder=Path(places.CHECKOUT) / "dags" / f"{name}.py").dags[name]
    ended = dag.test(run_conf=json.loads(conf))
    print(json.dumps({each.task_id: [each.state, each.try_number] for each in ended.get_task_instances()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
