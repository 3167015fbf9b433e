"""Ports of the local stack: the wished port if it is free, else another one, and who holds the wished one."""

import random
import socket

import psutil

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Stack

LOCALHOST = "127.0.0.1"
# Below Linux's range for outgoing connections: one of them could hold the port when the stack starts again.
SPARE_PORTS = range(20_000, 32_000)
TRIES = 200


def wished(stack: Stack) -> dict[str, int]:
    return {name: port for name, port in stack.model_dump().items() if name.endswith("_port")}


def choose(stack: Stack) -> tuple[dict[str, int], list[str]]:
    """Returns the port of each part, and a line about each port that had to change."""
    chosen: dict[str, int] = {}
    moved = []
    for name, port in wished(stack).items():
        if port in chosen.values() or not is_free(port):
            spare = _spare(set(chosen.values()))
            moved.append(f"stack.{name}: {port} is taken by {holder(port)}, using {spare}")
            port = spare
        chosen[name] = port
    return chosen, moved


def free(port: int) -> int:
    """Returns the port, or another one if it is taken. Raises HeadraceError if none is free."""
    return port if is_free(port) else _spare(set())


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    try:
        listeners = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        pid = next(c.pid for c in listeners if c.laddr and c.laddr.port == port)
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "a process of another user"
    except StopIteration:
        return "another part of this stack"
    except psutil.Error:
        return "another process"


def _spare(taken: set[int]) -> int:
    for port in random.SystemRandom().sample(SPARE_PORTS, TRIES):
        if port not in taken and is_free(port):
            return port
    raise HeadraceError(f"no free port found in {SPARE_PORTS.start}-{SPARE_PORTS.stop}")
