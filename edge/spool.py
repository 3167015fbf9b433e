"""The spool: the events that a process has promised to send, in order, on disk, and how far they have been sent.

    {root}/{start_ns}-{pid}/lock          held (flock) while the process lives; the kernel releases it when it dies
    {root}/{start_ns}-{pid}/00000001.log  a line with the offset of the first unsent byte, a line per event, zeros

Segments are memory-mapped files of fixed size, whose disk space is reserved. A line that was copied into the mapping
belongs to the kernel: killing the process loses nothing. Only `sync` makes it survive a power cut. (The first version
called write() per event. Each call released Python's lock, and beside a busy sending thread it took 50 us to get it
back. The copy takes 1 us.)
"""

import fcntl
import mmap
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEADER_BYTES = 21  # 20 digits and a newline
SEGMENT_BYTES = 8 << 20


class Segment:
    """One file of a journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_RDWR)
        self._map = mmap.mmap(fd, 0)
        os.close(fd)
        header = self._map[: HEADER_BYTES - 1]
        self.start = int(header) if header.isdigit() else HEADER_BYTES  # a power cut can leave zeros
        self.end = max(self.start, self._map.rfind(b"\n") + 1)  # a line without its newline was never promised
        self._window_bytes = 0

    @classmethod
    def create(cls, path: Path) -> "Segment":
        """Makes an empty segment and reserves its disk space. Raises OSError if the disk is full."""
        draft = path.with_suffix(".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(fd, 0, SEGMENT_BYTES)  # a full disk fails here, not with a SIGBUS in the mapping
        os.pwrite(fd, b"%020d\n" % HEADER_BYTES, 0)
        os.close(fd)
        draft.rename(path)
        return cls(path)

    def append(self, line: bytes) -> bool:
        """Appends a line; False if it does not fit. The newline is written last: until then the line does not count."""
        start, end = self.end, self.end + len(line)
        if end >= len(self._map):
            return False
        self._map[start:end] = line
        self._map[end] = 10
        self.end = end + 1
        return True

    def window(self, max_bytes: int) -> list[bytes]:
        """The next unsent lines, of at most max_bytes but at least one."""
        start, end = self.start, self.end
        self._window_bytes = 0
        if start == end:
            return []
        last = self._map.rfind(b"\n", start, min(start + max_bytes, end))
        stop = last if last >= 0 else self._map.find(b"\n", start, end)  # at least one line, however long
        self._window_bytes = stop + 1 - start
        return self._map[start:stop].split(b"\n")

    def mark_sent(self) -> int:
        self.start += self._window_bytes
        self._map[: HEADER_BYTES - 1] = b"%020d" % self.start
        return self._window_bytes

    def sync(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        os.fsync(fd)  # it includes mapped pages
        os.close(fd)


class Journal:
    """The events of one process. One thread (or a lock) appends; one other thread reads, and marks as sent."""

    def __init__(self, folder: Path, lock: int, writable: bool = False) -> None:
        self._folder, self._lock, self._writable = folder, lock, writable
        self._segments = deque(Segment(path) for path in sorted(folder.glob("*.log")))
        self._in_bytes = sum(segment.end - segment.start for segment in self._segments)
        self._out_bytes = 0
        self._number = 0
        self.appended = self.sent = 0  # events, by this object

    @classmethod
    def create(cls, root: Path) -> "Journal":
        """The new journal of this process."""
        folder = root / f"{time.time_ns():020d}-{os.getpid()}"
        with _alone(root):
            folder.mkdir()
            lock = _claim(folder)
        assert lock is not None, f"{folder} is new and already locked"
        return cls(folder, lock, writable=True)

    @classmethod
    def orphans(cls, root: Path) -> list["Journal"]:
        """The journals of dead processes, oldest first. Each belongs to the caller from now on."""
        with _alone(root):
            claimed = [(path.parent, _claim(path.parent)) for path in sorted(root.glob("[0-9]*-[0-9]*/lock"))]
        return [cls(folder, lock) for folder, lock in claimed if lock is not None]

    @property
    def unsent_bytes(self) -> int:
        return self._in_bytes - self._out_bytes

    def append(self, line: bytes) -> None:
        """Appends one event, without a newline in it. Raises ValueError if it is longer than a segment."""
        if not (self._segments and self._segments[-1].append(line)):
            self._number += 1
            segment = Segment.create(self._folder / f"{self._number:08d}.log")
            if not segment.append(line):
                raise ValueError(f"an event must be < {SEGMENT_BYTES} bytes, got {len(line)}")
            self._segments.append(segment)
        self._in_bytes += len(line) + 1
        self.appended += 1

    def sync(self) -> None:
        """Makes everything appended so far survive a power cut. Any thread may call it."""
        for segment in list(self._segments)[-2:]:
            segment.sync()

    def window(self, max_bytes: int) -> list[bytes]:
        """The next unsent events; the same ones again until `mark_sent`."""
        while self._segments:
            # Ask this before reading: a sealed segment grows no more.
            sealed = len(self._segments) > 1 or not self._writable
            lines = self._segments[0].window(max_bytes)
            if lines or not sealed:
                return lines
            self._segments.popleft().path.unlink()
        return []

    def mark_sent(self, events: int) -> None:
        self._out_bytes += self._segments[0].mark_sent()
        self.sent += events

    def close(self) -> None:
        """Leaves unsent events to the next process, and removes an empty journal."""
        if self._lock < 0:
            return
        if not self.unsent_bytes:
            shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1
        self._segments.clear()


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Lets one process at a time look for folders or make one: so nobody takes a folder before its maker locks it."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _claim(folder: Path) -> int | None:
    """The lock of a journal's folder, or None if its process lives."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # its owner has just removed it
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
