"""`headrace airflow`: it comes up beside a taken port, lets its user in, runs a night, and goes away whole."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psutil
import pytest

from headrace.infra import paths
from tests.dags.checkout import STEPS, Checkout

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not paths.python("airflow").exists(), reason="needs `make airflow`"),
]
WAIT_S = 120
ALIVE = ("queued", "running")


def headrace(checkout: Checkout, *arguments: str, **settings: object) -> str:
    command = [sys.executable, "-m", "headrace", *arguments]
    environment = checkout.environment(**settings)
    done = subprocess.run(command, env=environment, cwd=checkout.folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Checkout, str, str]]:
    """Starts Airflow, and returns the checkout, the page's address and the password."""
    checkout = Checkout.make(tmp_path_factory.mktemp("airflow"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = headrace(checkout, "airflow", "up", AIRFLOW__PORT=port, AIRFLOW__RETRY_DELAY_S=1).split()
        try:
            address = next(word.rstrip(",") for word in said if word.startswith("http://"))
            assert not address.endswith(f":{port}")
            yield checkout, address, said[said.index("password") + 1].rstrip(";")
        finally:
            headrace(checkout, "airflow", "down")
    assert [each for each in psutil.process_iter() if str(checkout.home) in environment_of(each)] == []


def environment_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("AIRFLOW_HOME", "")
    except psutil.Error:
        return ""


def ask(address: str, token: str, body: Any = None, method: str | None = None) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method)) as response:
        return response.read()


def token_of(address: str, password: str) -> str:
    login = {"username": "admin", "password": password}
    return str(json.loads(ask(f"{address}/auth/token", "", login))["access_token"])


def test_the_password_lets_in_and_nobody_else_sees_a_report(page: tuple[Checkout, str, str]) -> None:
    checkout, address, password = page
    report = checkout.home / "nights" / "2026-01-01" / "evaluate" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<h1>good</h1>")
    place = f"{address}/headrace/nights/2026-01-01/report"
    assert ask(place, token_of(address, password)) == b"<h1>good</h1>"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(place, "wrong")
    assert "runs already" in headrace(checkout, "airflow")  # the name of old for `airflow up`


def test_switched_on_it_runs_last_night_alone_and_tries_what_was_killed_again(page: tuple[Checkout, str, str]) -> None:
    """The nights since the DAG's start date are not caught up."""
    checkout, address, password = page
    token = token_of(address, password)
    checkout.order("als", "die once")
    dag = f"{address}/api/v2/dags/nightly_retrain"
    deadline = time.monotonic() + WAIT_S
    while json.loads(ask(f"{address}/api/v2/dags", token))["total_entries"] < 5:  # they are read in the background
        assert time.monotonic() < deadline
        time.sleep(1)
    ask(dag, token, {"is_paused": False}, "PATCH")
    while (runs := json.loads(ask(f"{dag}/dagRuns", token))["dag_runs"]) == [] or runs[0]["state"] in ALIVE:
        assert time.monotonic() < deadline, runs
        time.sleep(1)
    (run,) = runs
    night = datetime.fromisoformat(run["logical_date"]).date() - timedelta(days=1)
    instances = f"{dag}/dagRuns/{run['dag_run_id']}/taskInstances"
    tasks = json.loads(ask(instances, token))["task_instances"]
    assert {task["state"] for task in tasks} == {"success"}
    tries = dict.fromkeys([*STEPS, "collect", "announce"], 1) | {"als": 2}
    assert {task["task_id"]: task["try_number"] for task in tasks} == tries
    links = json.loads(ask(f"{instances}/evaluate/links", token))
    assert links["extra_links"] == {"Evaluation report": f"{address}/headrace/nights/{night}/report"}
    done = [path.name for path in (checkout.home / "nights" / night.isoformat()).glob("[!.]*")]
    assert sorted(done) == sorted(STEPS)
