"""A TaskManager beside the supervised one: what a cluster starts when one of its TaskManagers does not answer."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psutil

from headrace.infra import paths
from headrace.infra.stack import programs, supervision
from tests.stack.running import Stack, ports

END_S, CUT_EVERY_S = 30, 0.1
LISTEN = psutil.CONN_LISTEN


@contextmanager
def paused_taskmanager() -> Iterator[None]:
    """Stops the supervised TaskManager as it is, in the middle of whatever it does; lets it go on at the end."""
    process = java()
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def java(name: str = "taskmanager") -> Any:
    """Returns the JVM of a supervised program."""
    pid = next(int(each["pid"]) for each in supervision.processes() if each["name"] == name)
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


@contextmanager
def cut_taskmanager() -> Iterator[None]:
    """Drops every packet between the supervised TaskManager and the JobManager; Kafka and Redis stay reachable."""
    jobmanager = {each.laddr.port for each in java("jobmanager").net_connections("tcp") if each.status == LISTEN}
    process, over = java(), Event()
    command("add table inet headrace_test; add chain inet headrace_test output { type filter hook output priority 0; }")

    def follow() -> None:
        """Cuts new connections, too: either side opens some."""
        cut: set[int] = set()
        while not over.wait(CUT_EVERY_S):
            ports = {port for each in process.net_connections("tcp") for port in _between(each, jobmanager)} - cut
            for port in ports:
                for side in ("sport", "dport"):
                    command(f"add rule inet headrace_test output tcp {side} {port} drop")
            cut |= ports

    follower = Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        command("delete table inet headrace_test")


def _between(connection: Any, jobmanager: set[int]) -> Iterator[int]:
    """Yields our port of a connection to the JobManager, or from it."""
    if connection.status == LISTEN or (connection.raddr and connection.raddr.port in jobmanager):
        yield connection.laddr.port


def command(text: str) -> None:
    subprocess.run(["nft", text], check=True, capture_output=True)
