"""Children that solve: results in order, clear errors, and none that outlives its parent."""

import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from infra.errors import HeadraceError
from jobs.batch import forked
from tests.stack.running import wait


def test_results_come_in_order_and_may_be_large() -> None:
    large = np.arange(3_000_000)
    found = forked.each(lambda n: (n, os.getpid(), large * n), [3, 1, 2])
    assert [n for n, _, _ in found] == [3, 1, 2]
    assert len({pid for _, pid, _ in found} | {os.getpid()}) == 4
    for n, _, array in found:
        np.testing.assert_array_equal(array, large * n)


def test_a_child_that_ends_without_a_result_is_told() -> None:
    def killed(n: int) -> int:
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(HeadraceError, match="a child must send its result, got exit status -9"):
        forked.each(killed, [1, 2, 3])


ENDLESS = """
import time
from jobs.batch import forked

def solve(n):
    print(n, flush=True)
    time.sleep(1)
    return bytes(10_000_000)

forked.each(solve, [1, 2, 3])
"""


def test_no_child_outlives_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert sorted(parent.stdout.readline() for _ in range(3)) == [b"1\n", b"2\n", b"3\n"]
        children = psutil.Process(parent.pid).children()
        assert len(children) == 3
        parent.kill()
        parent.wait()
        wait(lambda: not any(each.is_running() for each in children), 20, lambda: f"{children} live")
