"""Cores: those of the affinity, and of the quotas of the process's control groups."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.infra import cores

ALL = len(os.sched_getaffinity(0))
V2, V1 = "0::/pods/one", "4:memory:/\n3:cpu,cpuacct:/pods/one\n0::/"
QUOTAS = {
    "none": (V2, {}, ALL),
    "unlimited": (V2, {"pods/one/cpu.max": "max 100000"}, ALL),
    "less than a core": (V2, {"pods/one/cpu.max": "1000 100000"}, 1),
    "a core": (V2, {"pods/one/cpu.max": "100000 100000"}, 1),
    "a core and a part of one": (V2, {"pods/one/cpu.max": "100001 100000"}, min(2, ALL)),
    "more than the machine": (V2, {"pods/one/cpu.max": "999900000 100000"}, ALL),
    "of the group around": (V2, {"pods/one/cpu.max": "max 100000", "pods/cpu.max": "50000 100000"}, 1),
    "of the container, whose path is the host's": (V2, {"cpu.max": "100000 100000"}, 1),
    "of version 1": (V1, {"cpu/pods/one/cpu.cfs_quota_us": "50000", "cpu/pods/one/cpu.cfs_period_us": "50000"}, 1),
    "no quota of version 1": (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALL),
}


@pytest.mark.parametrize(("groups", "files", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_a_quota_counts(tmp_path: Path, groups: str, files: dict[str, str], expected: int) -> None:
    (tmp_path / "self").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert cores.usable(tmp_path / "self", tmp_path / "cgroup") == expected


def test_a_system_without_control_groups_has_the_cores_of_its_affinity(tmp_path: Path) -> None:
    assert cores.usable(tmp_path / "none", tmp_path / "none") == ALL


@pytest.fixture
def one_core() -> Iterator[None]:
    os.sched_setaffinity(0, {min(before := os.sched_getaffinity(0))})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_an_affinity_counts(tmp_path: Path) -> None:
    assert cores.usable(tmp_path / "none", tmp_path / "none") == 1
