"""Where things lie: the checkout, what is built once (HEADRACE_CACHE), what a stack writes (HEADRACE_HOME).

Both default to `.headrace` in the checkout. Several homes, each with its own stack, can share one cache.
"""

import hashlib
import os
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SETTINGS_TOML = CHECKOUT / "infra" / "settings.toml"
UNIX_SOCKET_PATH_MAX = 100  # bytes; Linux allows 107, and supervisord appends its pid while it binds


def _directory(variable: str) -> Path:
    return Path(os.environ.get(variable) or CHECKOUT / ".headrace").expanduser().absolute()


def home() -> Path:
    return _directory("HEADRACE_HOME")


def cache() -> Path:
    return _directory("HEADRACE_CACHE")


def kafka_jars() -> Path:
    return cache() / "jars" / "kafka"


def spark_jars() -> Path:
    return cache() / "jars" / "spark"


def python(environment: str) -> Path:
    """The interpreter of an environment: streaming, batch, edge or airflow."""
    return cache() / "env" / environment / "bin" / "python"


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
