"""`headrace doctor`: what this machine and the project have, and what to do about the rest."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from headrace.infra import environments, paths
from headrace.infra.errors import HeadraceError, describe
from headrace.infra.settings import load
from headrace.infra.stack import ports, prerequisites, supervision

PYTHON = (3, 11)
FAST_PATH = "pyflink.fn_execution.beam.beam_operations_fast"
FREE_DISK_GB = 5
FREE_MEMORY_GB = 5
GB = 1e9


@dataclass(frozen=True)
class DoctorFinding:
    name: str
    ok: bool
    said: str  # what was found, or what to do


def findings() -> list[DoctorFinding]:
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "jdk": _jdk,
        "maven": lambda: _tool("mvn"),
        "redis-server": lambda: _tool("redis-server"),
        "project": _project,
        "settings": _settings,
        "streaming": _streaming,
        **{name: partial(_environment, name) for name in ("batch", "edge", "airflow")},
        "jars": _jars,
        "disk": _disk,
        "memory": _memory,
        "ports": _ports,
    }
    return [finding(name, check) for name, check in checks.items()]


def finding(name: str, check: Callable[[], str]) -> DoctorFinding:
    try:
        return DoctorFinding(name, True, check())
    except (HeadraceError, OSError, ValueError) as error:
        return DoctorFinding(name, False, describe(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != PYTHON:
        raise HeadraceError(f"must be 3.11, got {version}: install Headrace in an environment of Python 3.11")
    return version


def _jdk() -> str:
    version = prerequisites.jdk_version()
    if version is None or version < prerequisites.JDK_OLDEST:
        instruction = prerequisites.instruction([prerequisites.TOOLS[0]])
        raise HeadraceError(f"must be >= {prerequisites.JDK_OLDEST}, got {version or 'none'}: {instruction}")
    return str(version)


def _tool(name: str) -> str:
    tool = next(tool for tool in prerequisites.TOOLS if tool.name == name)
    found = shutil.which(name)
    if not found:
        raise HeadraceError(f"missing: {prerequisites.instruction([tool])}")
    return found


def _project() -> str:
    folder = paths.project()
    if folder is None:
        paths.require_project()
        return f"none: {paths.home()} is the home"
    if outer := paths.enclosing_project(folder.parent):
        raise HeadraceError(f"{folder} hides the project {outer}, which holds it: move one out of the other")
    return str(folder)


def _streaming() -> str:
    """With other versions of Beam, PyFlink uses plain Python without a word, many times slower."""
    python = sys.executable if find_spec("pyflink") else str(environments.ready("streaming"))
    done = subprocess.run([python, "-c", f"import {FAST_PATH}"], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        raise HeadraceError(f"PyFlink's fast path does not load ({reason}): run `headrace install streaming`")
    return f"PyFlink's fast path loads, {python}"


def _environment(name: str) -> str:
    """One that nobody asked for may be missing; one that is half made is to be finished."""
    if not paths.environment(name).exists():
        return f"not made: `headrace install {name}` makes it"
    return str(environments.ready(name))


def _settings() -> str:
    load()
    return "valid"


def _jars() -> str:
    missing = [path for path in (paths.kafka_jars() / ".ready", paths.job_jar()) if not path.exists()]
    if missing:
        raise HeadraceError(f"{', '.join(map(str, missing))} missing: `headrace up` builds them")
    return str(paths.cache() / "jars")


def _disk() -> str:
    paths.home().mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(paths.home()).free / GB
    if free_gb < FREE_DISK_GB:
        raise HeadraceError(
            f"{free_gb:.1f} GB free under {paths.home()}, needs {FREE_DISK_GB}: free some or set HEADRACE_HOME"
        )
    return f"{free_gb:.0f} GB free"


def _memory() -> str:
    import psutil

    free_gb = psutil.virtual_memory().available / GB
    if free_gb < FREE_MEMORY_GB and not supervision.running():
        raise HeadraceError(f"{free_gb:.1f} GB free, the stack takes up to {FREE_MEMORY_GB}: lower the *_mb of [stack]")
    return f"{free_gb:.0f} GB free"


def _ports() -> str:
    if supervision.running():
        return "held by the running stack"
    taken = [
        f"{port} by {ports.holder(port)}" for port in ports.wished(load().stack).values() if not ports.is_free(port)
    ]
    return f"taken: {', '.join(taken)}; `headrace up` will use others" if taken else "free"
