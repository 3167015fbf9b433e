"""supervisord, reached by its unix socket: it starts the programs, restarts a killed one, and rotates their logs."""

import contextlib
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from supervisor.xmlrpc import SupervisorTransport

from headrace.infra import paths
from headrace.infra.errors import HeadraceError

MARK = "HEADRACE_SUPERVISED"  # environment variable with the group's mark
SOCKET_WAIT_S = 20
STOP_WAIT_S = 120
ORPHAN_WAIT_S = 10


class ProgramGroup(NamedTuple):
    """Programs that start and end together, under a supervisord of their own."""

    name: str  # of its configuration and log
    socket: Path
    mark: str  # value of MARK in its processes

    @property
    def conf(self) -> Path:
        return paths.home() / "conf" / f"{self.name}.conf"

    @property
    def log(self) -> Path:
        return paths.logs() / f"{self.name}.log"


def stack() -> ProgramGroup:
    return ProgramGroup("supervisord", paths.supervisor_socket(), str(paths.home()))


@contextlib.contextmanager
def _rpc(group: ProgramGroup) -> Iterator[Any]:
    transport = SupervisorTransport(serverurl=f"unix://{group.socket}")
    with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
        yield proxy.supervisor


def running(group: ProgramGroup | None = None) -> bool:
    # A Fault means that it is shutting down.
    with contextlib.suppress(OSError, xmlrpc.client.Fault), _rpc(group or stack()) as rpc:
        return bool(rpc.getState()["statename"] == "RUNNING")
    return False


def processes(group: ProgramGroup | None = None) -> list[dict[str, Any]]:
    """Returns each program's name, statename, pid, start (s since 1970), ...; an empty list if supervisord is down."""
    try:
        with _rpc(group or stack()) as rpc:
            return list(rpc.getAllProcessInfo())
    except (OSError, xmlrpc.client.Fault):
        return []


def start(group: ProgramGroup | None = None) -> None:
    group = group or stack()
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(group.conf)]
    # All processes inherit MARK. So none of them is ever lost, and no process of another home is taken for ours.
    environment = {**os.environ, MARK: group.mark, "HEADRACE_HOME": str(paths.home())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise HeadraceError(f"supervisord did not start: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    if not _wait(lambda: running(group), SOCKET_WAIT_S):
        raise HeadraceError(f"supervisord does not answer after {SOCKET_WAIT_S} s: see {group.log}")


def start_stopped() -> list[str]:
    """Starts the programs that somebody stopped, or that supervisord gave up. Returns their names."""
    stopped = [each["name"] for each in processes() if each["statename"] in ("STOPPED", "EXITED", "FATAL")]
    with _rpc(stack()) as rpc:
        for name in stopped:
            rpc.startProcess(name, False)
    return stopped


def stop(group: ProgramGroup | None = None) -> bool:
    """Ends every program, then supervisord. Returns False if it was not running. Raises HeadraceError if it hangs."""
    group = group or stack()
    if not running(group):
        return False
    with _rpc(group) as rpc:
        supervisord = psutil.Process(rpc.getPID())
        rpc.shutdown()
    try:
        supervisord.wait(STOP_WAIT_S)
    except psutil.TimeoutExpired:
        raise HeadraceError(f"supervisord (pid {supervisord.pid}) did not end within {STOP_WAIT_S} s") from None
    return True


def end_orphans(group: ProgramGroup | None = None) -> int:
    """Ends processes that outlived a killed supervisord or TaskManager. Returns how many there were."""
    orphans = list(_marked((group or stack()).mark))
    for process in orphans:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(orphans, timeout=ORPHAN_WAIT_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=ORPHAN_WAIT_S)
    return len(orphans)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                yield process


def _wait(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
