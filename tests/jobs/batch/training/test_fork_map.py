"""Children that compute: results in order, clear errors, and no child that outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from headrace.infra import cores
from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.training import fork_map
from tests.stack.running import wait


def test_results_come_in_order_and_may_be_large() -> None:
    large = np.arange(3_000_000)
    found = fork_map.each(lambda n: (n, os.getpid(), large * n), [3, 1, 2])
    assert [n for n, _, _ in found] == [3, 1, 2]
    assert len({pid for _, pid, _ in found} | {os.getpid()}) == 4
    for n, _, array in found:
        np.testing.assert_array_equal(array, large * n)


class Unsendable:
    """Kills its process while it is being sent."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("killed", [lambda: os.kill(os.getpid(), signal.SIGKILL), Unsendable])
def test_a_child_that_ends_without_a_result_is_told(killed: Callable[[], Any]) -> None:
    def solve(n: int) -> Any:
        return (bytes(10_000_000), killed()) if n == 2 else n

    with pytest.raises(HeadraceError, match="a child must send its result, got exit status -9"):
        fork_map.each(solve, [1, 2, 3])
    assert not multiprocessing.active_children()


def test_what_a_child_fails_of_is_told_in_its_words() -> None:
    def solve(n: int) -> int:
        if n == 2:
            raise ValueError(f"n must be odd, got {n}")
        return n

    with pytest.raises(HeadraceError, match="n must be odd, got 2"):
        fork_map.each(solve, [1, 2, 3])
    assert not multiprocessing.active_children()


def test_a_core_has_one_child_at_a_time() -> None:
    def solve(_: int) -> tuple[float, float]:
        began_s = time.monotonic()
        time.sleep(0.2)
        return began_s, time.monotonic()

    most = cores.usable()
    lasted = fork_map.each(solve, range(3 * most))
    assert max(sum(began <= at < ended for began, ended in lasted) for at, _ in lasted) <= most


def test_a_process_of_one_core_has_one_child_at_a_time() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        test_a_core_has_one_child_at_a_time()
    finally:
        os.sched_setaffinity(0, before)


ENDLESS = """
import time
from headrace.jobs.batch.training import fork_map

def solve(n):
    print(n, flush=True)
    time.sleep(1)
    return bytes(10_000_000)

fork_map.each(solve, [1, 2])
"""


def test_no_child_outlives_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline()
        children = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait()
        wait(lambda: not any(each.is_running() for each in children), 20, lambda: f"{children} live")
