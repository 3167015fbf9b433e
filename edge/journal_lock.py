"""Whose a journal of the spool is (edge/spool.py): its process holds a lock, which ends with the process."""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar


class Lock:
    """The lock of a journal's folder: this process's alone, for a forked child lets go of it."""

    held: ClassVar["weakref.WeakSet[Lock]"] = weakref.WeakSet()

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.held.add(self)

    @classmethod
    def claim(cls, folder: Path) -> "Lock | None":
        """None if the folder is gone, or its process lives."""
        try:
            lock = cls(os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600))
        except FileNotFoundError:  # its owner has just removed it
            return None
        try:
            fcntl.flock(lock._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.drop()
            return None
        return lock

    def drop(self) -> None:
        """What the kernel does when the process dies."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __bool__(self) -> bool:
        return self._fd >= 0


def _let_go() -> None:
    """In a forked child, which would keep the locks of a parent that was killed."""
    for lock in list(Lock.held):
        lock.drop()


os.register_at_fork(after_in_child=_let_go)


def new_folder(folder: Path) -> Lock:
    with alone(folder.parent):
        folder.mkdir(exist_ok=True)
        lock = Lock.claim(folder)
    if lock is None:
        raise OSError(f"{folder} must be this process's own, but another one holds its lock")
    return lock


@contextmanager
def alone(root: Path, wait: bool = True) -> Iterator[None]:
    """Lets one process at a time look for folders or make one: so nobody takes a folder before its maker locks it.

    Raises BlockingIOError without `wait`, if another one is at it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # also for a child that was forked meanwhile
