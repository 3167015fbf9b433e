"""A TaskManager beside the supervised one: what a cluster starts when one of its TaskManagers does not answer."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from headrace.infra import paths
from headrace.infra.stack import programs, supervision
from tests.stack.running import Stack, ports

END_S = 30


@contextmanager
def paused_taskmanager() -> Iterator[None]:
    """Stops the supervised TaskManager as it is, in the middle of whatever it does; lets it go on at the end."""
    process = java()
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def java() -> Any:
    """Returns the JVM of the supervised TaskManager."""
    pid = next(int(each["pid"]) for each in supervision.processes() if each["name"] == "taskmanager")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return next(each for each in family if each.name() == "java")


@contextmanager
def spare_taskmanager(stack: Stack) -> Iterator[str]:
    """Runs a second TaskManager, and yields the address of its metrics."""
    port = ports()["STACK__TASKMANAGER_METRICS_PORT"]
    options = {"metrics.reporter.prom.port": port, "io.tmp.dirs": stack.home / "tmp" / "spare"}
    dynamic = [part for key, value in options.items() for part in ("-D", f"{key}={value}")]
    command = [str(programs.flink_home() / "bin" / "taskmanager.sh"), "start-foreground", *dynamic]
    environment = os.environ | programs.flink_environment() | {"FLINK_IDENT_STRING": "spare"}
    with (paths.logs() / "spare.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://localhost:{port}/metrics"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(END_S)
