"""Files that survive a power cut whole: they are written, synced, and only then given their name."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write(path: Path, content: bytes) -> None:
    """Writes a file. Readers, also at the same moment, see the whole content or what was there before.

    Raises OSError with the file's name.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _named(path):
            draft.write_bytes(content)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def save(path: Path, array: "NDArray[Any]") -> None:
    """Saves an array, without a sync. Raises OSError with the file's name."""
    import numpy as np  # most commands save no array

    with _named(path):
        np.save(path, array)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file's name to an OSError. A failed write names no file, and numpy only counts what the disk took."""
    try:
        yield
    except OSError as error:
        code = error.errno or errno.ENOSPC
        raise OSError(code, os.strerror(code), str(path)) from None


def sync(path: Path) -> None:
    """Syncs a file; of a folder, the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Returns the sha256 of each file of a folder, by name; not of hidden ones, nor of folders."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.name: sha256(path) for path in files}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process in at a time. The lock ends with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        flock(file, LOCK_EX)
        yield
