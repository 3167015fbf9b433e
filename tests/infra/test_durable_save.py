"""A disk that is really full, where this machine lets us make one."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headrace.infra import durable
from headrace.infra.errors import describe


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount).returncode:
        pytest.skip("only root may mount")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_told_with_the_file(small_disk: Path) -> None:
    path = small_disk / "item_factors.npy"
    with pytest.raises(OSError, match="No space left on device") as full:
        durable.save(path, np.ones(200_000))
    assert describe(full.value) == f"{path}: No space left on device"
    path.unlink()
    with pytest.raises(OSError, match="No space left on device") as full:
        durable.write(path, bytes(2_000_000))
    assert describe(full.value) == f"{path}: No space left on device"
    assert list(small_disk.iterdir()) == []


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    durable.save(tmp_path / "a.npy", np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError, match="gone"):
        durable.save(tmp_path / "gone" / "a.npy", np.arange(3))
