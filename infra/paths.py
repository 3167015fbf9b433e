"""Where everything is: the package, a shop's project, what is built once (cache), what a stack writes (home).

project   the folder whose headrace.toml holds the shop's settings: HEADRACE_PROJECT, or the first one from the working
          directory upwards
home      HEADRACE_HOME, or `.headrace` in the project
cache     HEADRACE_CACHE, or `.headrace` in the checkout, or the home

Without a project, a checkout of Headrace serves as one; a program that uses only the SDK has a home of the user's own.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from headrace.infra.errors import HeadraceError

PACKAGE = Path(__file__).resolve().parents[1]  # of infra, jobs, udfs, ...: the checkout, or headrace in site-packages
CONFIG = PACKAGE / "infra" / "config"
REQUIREMENTS = PACKAGE / "infra" / "requirements"
PROJECT_FILE = "headrace.toml"
UNIX_SOCKET_PATH_MAX = 100  # bytes; Linux allows 107, and supervisord appends its pid while it binds


class NoProject(HeadraceError):
    pass


def is_checkout() -> bool:
    return (PACKAGE / "pyproject.toml").is_file()


def project() -> Path | None:
    """The folder of the shop's settings, if there is one."""
    named = os.environ.get("HEADRACE_PROJECT")
    if not named:
        return enclosing_project(Path.cwd())
    folder = Path(named).expanduser().absolute()
    if not (folder / PROJECT_FILE).is_file():
        raise NoProject(
            f"--project and HEADRACE_PROJECT must name a folder with {PROJECT_FILE}, got {named!r}: "
            f"`headrace init {named}` makes one"
        )
    return folder


def enclosing_project(folder: Path) -> Path | None:
    """The nearest project that holds the folder, or is it."""
    return next((each for each in (folder, *folder.parents) if (each / PROJECT_FILE).is_file()), None)


def require_project() -> None:
    """NoProject where a command would write and nobody has said for which shop."""
    named = os.environ.get("HEADRACE_HOME") or os.environ.get("HEADRACE_SETTINGS")  # as on a cluster's machine
    if not (named or project() or is_checkout()):
        raise NoProject(
            f"no {PROJECT_FILE} in {Path.cwd()} or above: `headrace init DIR` makes a project, --project DIR names one"
        )


def home() -> Path:
    if named := os.environ.get("HEADRACE_HOME"):
        return Path(named).expanduser().absolute()
    if folder := project() or (PACKAGE if is_checkout() else None):
        return folder / ".headrace"
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "headrace"


def cache() -> Path:
    if named := os.environ.get("HEADRACE_CACHE"):
        return Path(named).expanduser().absolute()
    return PACKAGE / ".headrace" if is_checkout() else home()


def kafka_jars() -> Path:
    return cache() / "jars" / "kafka"


def spark_jars() -> Path:
    return cache() / "jars" / "spark"


def environment(name: str) -> Path:
    """The folder of an environment: streaming, batch, edge or airflow."""
    return cache() / "env" / name


def python(name: str) -> Path:
    """The interpreter of an environment."""
    return environment(name) / "bin" / "python"


def job_jar() -> Path:
    return cache() / "jars" / "headrace-flink.jar"


def stack_toml() -> Path:
    return home() / "stack.toml"


def logs() -> Path:
    return home() / "logs"


def airflow_home() -> Path:
    return home() / "airflow"


def flink_client_conf() -> Path:
    return home() / "flink" / "client"


def supervisor_socket(name: str = "supervisor") -> Path:
    path = home() / "run" / f"{name}.sock"
    if len(os.fsencode(path)) <= UNIX_SOCKET_PATH_MAX:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"headrace-{digest}.sock"
