"""`headrace airflow up`: scheduler, DAG processor and API server of the Airflow in {home}/airflow.

They run under a supervisord of their own, so that they need no local stack, and `headrace down` leaves them running.
"""

import json
import time
import urllib.request
from typing import Any

from rich.console import Console

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import airflow_home, ports, rendering, supervision
from headrace.infra.stack.ports import LOCALHOST
from headrace.infra.stack.programs import AIRFLOW_LOG_NAMES, Program
from headrace.infra.stack.supervision import ProgramGroup

POLL_S = 0.5


def group() -> ProgramGroup:
    return ProgramGroup("airflow", paths.supervisor_socket("airflow"), str(paths.airflow_home()))


def up(settings: Settings, console: Console) -> None:
    if supervision.running(group()):
        console.print(_said("runs already"), soft_wrap=True)
        return
    supervision.end_orphans(group())
    with console.status("Airflow's database"):
        airflow_home.prepare(settings, ports.free(settings.airflow.port))
    for folder in (paths.home() / "conf", paths.home() / "run", paths.logs()):
        folder.mkdir(parents=True, exist_ok=True)
    rendering.write_supervisord(settings, _programs(), group().name, group().socket)
    supervision.start(group())
    try:
        with console.status("waiting for scheduler, DAG processor and API server"):
            _wait_healthy(settings.stack.start_timeout_s)
    except BaseException:  # Ctrl-C too
        down()
        raise
    console.print(_said("is up"), soft_wrap=True)


def down() -> bool:
    was_up = supervision.stop(group())
    return bool(supervision.end_orphans(group())) or was_up


def _programs() -> list[Program]:
    command, port = str(airflow_home.python().with_name("airflow")), int(airflow_home.configured().get("api", "port"))
    return [
        Program(name, port, [command, name], priority, _added(), whole_group=True)
        for priority, name in enumerate(AIRFLOW_LOG_NAMES, start=1)
    ]


def _added() -> dict[str, str]:
    """Returns the variables that supervisord's own environment lacks."""
    wanted = airflow_home.environment()
    return {name: wanted[name] for name in ("AIRFLOW_HOME", "HEADRACE_HOME")}


def _wait_healthy(timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while sick := _sick():
        if time.monotonic() > deadline:
            parts = ", ".join(sick)
            raise HeadraceError(f"Airflow's {parts} did not become healthy in {timeout_s:.0f} s: see {paths.logs()}")
        time.sleep(POLL_S)


def _sick() -> list[str]:
    """Returns the parts that are not healthy, as the API server reports."""
    try:
        health = _get("/api/v2/monitor/health")
    except (OSError, ValueError):
        return ["API server"]
    return [part for part in ("metadatabase", "scheduler", "dag_processor") if health[part]["status"] != "healthy"]


def _get(path: str) -> Any:
    address = f"http://{LOCALHOST}:{airflow_home.configured().get('api', 'port')}{path}"
    with urllib.request.urlopen(address, timeout=5) as response:
        return json.loads(response.read())


def _said(state: str) -> str:
    page = airflow_home.configured().get("api", "base_url")
    stop = "`headrace airflow down` ends it"
    return f"Airflow {state}: {page}, user {airflow_home.USER}, password {airflow_home.login()}; {stop}"
