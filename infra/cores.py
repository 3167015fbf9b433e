"""How many cores this process may use: those of its affinity, and no more than its control groups' share of time.

A container on a large machine has a quota (`docker run --cpus 2`, a limit of Kubernetes); os.cpu_count() is the
machine's.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

OF_PROCESS, MOUNTED = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def usable(of_process: Path = OF_PROCESS, mounted: Path = MOUNTED) -> int:
    """Returns the number of cores, at least 1; a part of a core counts as one.

    of_process: names the process's control groups; mounted: the folder of all groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(of_process, mounted))]))


def _quotas(of_process: Path, mounted: Path) -> Iterator[float]:
    """Yields the quota, in cores, of each group that has one: the process's own groups and those around them."""
    for line in _text(of_process).splitlines():
        _, controllers, path = line.split(":", 2)
        # Within a container the path may be the host's, while the mounted folder is the container's own group.
        groups = [PurePosixPath(path.lstrip("/")), *PurePosixPath(path.lstrip("/")).parents]
        for group in groups:
            if controllers == "":  # version 2
                yield from _quota(_text(mounted / group / "cpu.max"))
            elif "cpu" in controllers.split(","):
                folder = mounted / "cpu" / group
                yield from _quota(_text(folder / "cpu.cfs_quota_us") + " " + _text(folder / "cpu.cfs_period_us"))


def _quota(text: str) -> Iterator[float]:
    """Yields the cores of "QUOTA PERIOD", in microseconds; nothing where there is no quota."""
    match text.split():
        case [quota, period] if quota.isdigit() and int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, or a group without such a limit
        return ""
