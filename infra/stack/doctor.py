"""`headrace doctor`: what this machine and checkout have, and what to do about the rest."""

import importlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.infra.stack import ports, prerequisites, supervision

PYTHON = (3, 11)
FREE_DISK_GB = 5
FREE_MEMORY_GB = 5
GB = 1e9


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    said: str  # what was found, or what to do


def findings() -> list[Finding]:
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "jdk": _jdk,
        "maven": lambda: _tool("mvn"),
        "redis-server": lambda: _tool("redis-server"),
        "pyflink": _pyflink,
        "settings": _settings,
        "jars": _jars,
        "disk": _disk,
        "memory": _memory,
        "ports": _ports,
    }
    return [_finding(name, check) for name, check in checks.items()]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except HeadraceError as error:
        return Finding(name, False, str(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != PYTHON:
        raise HeadraceError(f"must be 3.11, got {version}: remove {paths.cache() / 'env'} and run `make up`")
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


def _pyflink() -> str:
    # With other versions of Beam PyFlink falls back to plain Python, many times slower, without a word.
    try:
        importlib.import_module("pyflink.fn_execution.beam.beam_operations_fast")
    except ImportError as error:
        raise HeadraceError(
            f"its fast path does not load ({error}): run `make up`, which installs the locked versions"
        ) from None
    return "fast path loads"


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
