"""One function of several things, on this machine, a core each, in children that are forked with all it refers to.

A Spark job costs 100 ms, twice the solve of a million entries; a fork costs 5 ms and sends nothing but the result.
numpy's calls are too short here for threads: two were no faster than one.
"""

import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import TypeVar

from headrace.infra.errors import HeadraceError, describe

T = TypeVar("T")
R = TypeVar("R")
_context = get_context("fork")


def each(solve: Callable[[T], R], given: Sequence[T]) -> list[R]:
    """In the order given; HeadraceError with what a child failed of. A child ends with its result, or unread."""
    found: dict[int, R] = {}
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    try:
        for place, one in enumerate(given):
            if len(running) >= (os.cpu_count() or 1):
                found |= _received(running)
            reader, process = _child(solve, one)
            running[reader] = place, process
        while running:
            found |= _received(running)
    finally:
        for reader, (_, process) in running.items():
            process.terminate()
            process.join()
            reader.close()
    return [found[place] for place in range(len(given))]


def _received(running: dict[Connection, tuple[int, ForkProcess]]) -> dict[int, R]:
    """Of those that are ready, at least one: their results; they are running no more."""
    found = {}
    for reader in wait(list(running)):
        assert isinstance(reader, Connection)
        place, process = running[reader]
        try:
            is_done, said = reader.recv()
        except (EOFError, OSError):  # at once, or in the middle of its result
            process.join()
            raise HeadraceError(f"a child must send its result, got exit status {process.exitcode}") from None
        if not is_done:
            raise HeadraceError(said)
        del running[reader]
        process.join()
        reader.close()
        found[place] = said
    return found


def _child(solve: Callable[[T], R], one: T) -> tuple[Connection, ForkProcess]:
    reader, writer = _context.Pipe(duplex=False)
    process = _context.Process(target=_send, args=(reader, writer, solve, one), daemon=True)
    process.start()
    writer.close()
    return reader, process


def _send(reader: Connection, writer: Connection, solve: Callable[[T], R], one: T) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Spark's handler would speak to the parent's JVM
    reader.close()  # else there is somebody who might read, after the parent is gone
    try:
        said: tuple[bool, R | str] = True, solve(one)
    except Exception as error:
        said = False, describe(error)
    writer.send(said)
