"""All DAGs: they load fast, import little, and give each task an owner, docs, a time limit and retries."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headrace.infra import paths
from headrace.infra.settings import load
from headrace.infra.stack import airflow_home

pytestmark = pytest.mark.airflow
LOAD_MAX_S = 5
HEAVY = ("pyspark", "torch", "pyflink", "mlflow", "pandas", "numpy", "faiss")
FOUND = """
import json, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
began_s = time.process_time()
bag = DagBag(dag_folder=Path(sys.argv[1]))
took_s = time.process_time() - began_s
tasks = [
    {
        "dag": dag.dag_id, "task": task.task_id, "owner": task.owner, "docs": bool(task.doc_md or dag.doc_md),
        "own docs": bool(task.doc_md), "timeout_s": task.execution_timeout and task.execution_timeout.total_seconds(),
        "retries": task.retries, "told": bool(task.on_failure_callback), "after": sorted(task.upstream_task_ids),
    }
    for dag in bag.dags.values() for task in dag.tasks
]
for dag in bag.dags.values():
    dag.check_cycle()
dags = {dag.dag_id: [dag.catchup, dag.max_active_runs, bool(dag.doc_md)] for dag in bag.dags.values()}
print(json.dumps([took_s, sorted(sys.modules), bag.import_errors, tasks, dags]))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_HOME", str(home))
        airflow_home.prepare(load())
        command = [sys.executable, "-c", FOUND, str(Path(paths.PACKAGE) / "dags")]
        done = subprocess.run(command, env=airflow_home.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_load_without_an_error_in_five_seconds_and_import_nothing_heavy(found: Any) -> None:
    took_s, modules, errors, _, dags = found
    assert errors == {}
    assert took_s < LOAD_MAX_S
    assert [name for name in modules if name.partition(".")[0] in HEAVY] == []
    assert {"nightly_retrain"} <= set(dags)


def test_every_task_has_owner_docs_time_limit_retries_and_a_callback(found: Any) -> None:
    _, _, _, tasks, dags = found
    for task in tasks:
        assert task["owner"] == "headrace", task
        assert task["own docs"], task
        assert task["timeout_s"], task
        assert task["retries"] > 0, task
        assert task["told"], task
    assert {name: each for name, each in dags.items() if each != [False, 1, True]} == {}


def test_the_arrows_of_the_night(found: Any) -> None:
    after = {task["task"]: task["after"] for task in found[3] if task["dag"] == "nightly_retrain"}
    models = ["als", "item_item", "two_tower"]
    line = ["collect", "evaluate", "gate", "register", "index", "precompute", "verify", "publish", "announce"]
    expected = {"land": [], "check": ["land"], "collect": models}
    expected |= {model: ["check"] for model in models}
    assert after == expected | {later: [earlier] for earlier, later in pairwise(line)}
