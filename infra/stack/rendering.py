"""Writes the configuration of every program under $HEADRACE_HOME, from settings and the templates beside this file."""

import os
import re
import resource
import shlex
import sys
from pathlib import Path
from string import Template
from typing import Any

from headrace.infra import paths
from headrace.infra.clients.kafka_topics import DEAD_LETTER_MAX_BYTES
from headrace.infra.settings import Settings
from headrace.infra.stack import programs, truststore
from headrace.infra.stack.programs import Program

TEMPLATES = Path(__file__).parent / "templates"
MIB = 1024 * 1024
OPEN_FILES = 65_536


def write_all(settings: Settings) -> None:
    """Writes the configuration of Kafka, Redis, ZooKeeper, Flink and supervisord, and makes the folders they need."""
    home = paths.home()
    for folder in ("conf", "logs", "run", "tmp", "redis", "zookeeper", "kafka", "flink/conf", "flink/savepoints"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    values = _values(settings)
    for name in ("kafka.properties", "redis.conf", "zookeeper.cfg"):
        write_private(home / "conf" / name, fill(name, values))
    log4j = (TEMPLATES / "log4j.properties").read_text()
    for path in ("conf/log4j.properties", "flink/conf/log4j-console.properties"):
        write_private(home / path, log4j)
    write_private(home / "flink" / "conf" / "config.yaml", fill("flink.yaml", values))
    write_supervisord(settings, programs.all_programs(settings.stack), "supervisord", paths.supervisor_socket())


def write_flink_client(settings: Settings) -> None:
    host, port = settings.flink.rest.rsplit(":", 1)
    folder = paths.flink_client_conf()
    folder.mkdir(parents=True, exist_ok=True)
    paths.logs().mkdir(parents=True, exist_ok=True)
    values = {"java_opts": _java_opts(), "host": host, "port": port, "job_defaults": _job_defaults(settings)}
    values["tls"] = truststore.options(settings.flink.ca_file, folder) if settings.flink.tls else ""
    write_private(folder / "config.yaml", fill("flink-client.yaml", values))
    write_private(folder / "log4j-cli.properties", (TEMPLATES / "log4j-cli.properties").read_text())


def write_supervisord(settings: Settings, group: list[Program], name: str, socket: Path) -> None:
    write_private(paths.home() / "conf" / f"{name}.conf", _supervisord(settings, group, name, socket))


def fill(template: str, values: dict[str, Any]) -> str:
    return Template((TEMPLATES / template).read_text()).substitute(values)


def _values(settings: Settings) -> dict[str, Any]:
    partition_max_bytes = settings.stack.partition_max_mb * MIB
    return {
        **settings.flink.model_dump(),
        **settings.kafka.model_dump(),
        **settings.stack.model_dump(),
        "home": paths.home(),
        "job_defaults": _job_defaults(settings),
        "java_opts": _java_opts(),
        "access": _redis_access(settings),
        "dead_letter_max_bytes": DEAD_LETTER_MAX_BYTES,
        "partition_max_bytes": partition_max_bytes,
        # The active segment is never dropped, so it must be a small part of a partition.
        "segment_bytes": max(partition_max_bytes // 8, MIB),
    }


def _job_defaults(settings: Settings) -> str:
    return fill("flink-job.yaml", {**settings.flink.model_dump(), "python": sys.executable})


def _redis_access(settings: Settings) -> str:
    secret = settings.redis.secret().replace("\\", r"\\").replace('"', r"\"")
    if not secret:
        return ""
    if settings.redis.username:
        return f'user default off\nuser {settings.redis.username} on ">{secret}" ~* &* +@all'
    return f'requirepass "{secret}"'


def _java_opts() -> str:
    """Returns the module exports that Flink needs, from its own configuration."""
    shipped = (programs.flink_home() / "conf" / "config.yaml").read_text()
    exports = re.search(r"^\s+all: (--add-exports.*)$", shipped, re.MULTILINE)
    return exports[1] if exports else ""


def _supervisord(settings: Settings, group: list[Program], name: str, socket: Path) -> str:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    values = {
        "home": _escape(str(paths.home())),
        "name": name,
        "socket": _escape(str(socket)),
        "log_max_mb": settings.stack.log_max_mb,
        "open_files": OPEN_FILES if limit == resource.RLIM_INFINITY else min(limit, OPEN_FILES),
        "programs": "\n".join(_program(each, settings) for each in group),
    }
    return fill("supervisord.conf", values)


def _program(program: Program, settings: Settings) -> str:
    values = {
        "name": program.name,
        "command": _escape(shlex.join(program.shell())),
        "environment": _environment({**program.environment, "TMPDIR": str(program.tmpdir())}),
        "priority": program.priority,
        "whole_group": str(program.whole_group).lower(),
        "log": _escape(str(program.log())),
        "log_max_mb": settings.stack.log_max_mb,
    }
    return fill("program.conf", values)


def _environment(variables: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in variables.items())


def _escape(text: str) -> str:
    return text.replace("%", "%%")  # supervisord expands %(name)s


def write_private(path: Path, text: str) -> None:
    """Writes a file that only this user can read: redis.conf can hold a password."""
    path.touch(mode=0o600)
    os.chmod(path, 0o600)
    path.write_text(text)
