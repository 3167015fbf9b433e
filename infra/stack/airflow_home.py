"""One Airflow of this machine with our DAGs: its configuration and database in {home}/airflow, and commands in it.

It has SQLite and the LocalExecutor, which are for one machine. If you have an Airflow already, point it at dags/
(docs/airflow.md).
"""

import base64
import configparser
import json
import os
import secrets
import subprocess
from pathlib import Path

from headrace.infra import durable, environments, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import rendering

USER = "admin"


def prepare(settings: Settings, port: int | None = None) -> None:
    """Writes Airflow's configuration and makes its database. Without a port, the configured one stays.

    Raises HeadraceError if the database cannot be made.
    """
    home = paths.airflow_home()
    home.mkdir(parents=True, exist_ok=True)
    with durable.locked(home):
        before = configured()
        values = {
            "dags": paths.PACKAGE / "dags",
            "home": home,
            "parallelism": settings.airflow.parallelism,
            "port": port or before.get("api", "port", fallback=settings.airflow.port),
            "fernet_key": before.get("core", "fernet_key", fallback=_key()),
            "secret": before.get("api", "secret_key", fallback=_key()),
        }
        rendering.write_private(home / "airflow.cfg", rendering.fill("airflow.cfg", values))
        if not (home / "passwords.json").exists():
            rendering.write_private(home / "passwords.json", json.dumps({USER: secrets.token_urlsafe(12)}))
        _migrate()


def configured() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(paths.airflow_home() / "airflow.cfg")
    return parser


def login() -> str:
    """Returns the password of USER."""
    return str(json.loads((paths.airflow_home() / "passwords.json").read_text())[USER])


def run(module: str, arguments: list[str]) -> int:
    """A module of dags/ in the airflow environment; its exit status."""
    return subprocess.run([str(python()), "-m", module, *arguments], env=environment()).returncode


def environment() -> dict[str, str]:
    """Returns the environment of this Airflow, without AIRFLOW__ variables of another one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}
    ours = {"AIRFLOW_HOME": paths.airflow_home(), "HEADRACE_HOME": paths.home()}
    return kept | {name: str(value) for name, value in ours.items()}


def python() -> Path:
    return environments.ready("airflow")


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _migrate() -> None:
    """Makes the database, once for each version of Airflow: it takes half a minute, and asking takes some seconds."""
    version = next(python().parents[1].glob("lib/*/site-packages/apache_airflow_core-*.dist-info")).name
    mark = paths.airflow_home() / "migrated"
    if mark.exists() and mark.read_text() == version:
        return
    command = [str(python().with_name("airflow")), "db", "migrate"]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise HeadraceError(f"Airflow's database: {(done.stdout.strip().splitlines() or ['no word'])[-1]}")
    mark.write_text(version)
