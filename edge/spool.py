"""The spool: the events that a process has promised to send, in order, on disk, and how far they have been sent.

    {root}/{start_ns}-{pid}/lock          held (flock) while the process lives; the kernel releases it when it dies
    {root}/{start_ns}-{pid}/00000001.log  a line with the offset of the first unsent byte, a line per event, zeros

A forked child lets go of the lock, and has no journal before it makes one of its own.
"""

import logging
import os
import shutil
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from headrace.edge import segment
from headrace.edge.journal_lock import Lock, alone, new_folder
from headrace.edge.segment import HEADER_BYTES, Segment
from headrace.infra import durable, paths

log = logging.getLogger(__name__)

JOURNALS = "[0-9]*-[0-9]*"
LEFT: set[Path] = set()  # those that could not be taken over


class Journal:
    """The events of one process. One thread (or a lock) appends; one other thread reads, and marks as sent."""

    def __init__(self, folder: Path, lock: Lock, writable: bool = False) -> None:
        self.folder, self._lock, self._writable = folder, lock, writable
        self._segments = deque(map(Segment, _logs(folder)))
        self._in_bytes = sum(each.unsent_bytes for each in self._segments)
        self._out_bytes = 0
        self._number = 0
        self._named = -1  # the newest segment whose name survives a power cut
        self._renewing = threading.Lock()
        self.appended = self.sent = 0  # events, by this object

    @classmethod
    def create(cls, root: Path) -> "Journal":
        """The new journal of this process. Raises OSError."""
        folder = root / f"{time.time_ns():020d}-{os.getpid()}"
        return cls(folder, new_folder(folder), writable=True)

    @classmethod
    def orphans(cls, root: Path, wait: bool = True) -> list["Journal"]:
        """The journals of dead processes, oldest first. Each belongs to the caller from now on.

        Raises OSError; without `wait`, BlockingIOError if another process looks for them.
        """
        with alone(root, wait):
            found = [cls._orphan(folder) for folder in sorted(root.glob(JOURNALS))]
        return [journal for journal in found if journal is not None]

    @classmethod
    def _orphan(cls, folder: Path) -> "Journal | None":
        lock = None
        try:
            lock = Lock.claim(folder)
            return cls(folder, lock) if lock else None
        except OSError as error:  # such as one of another user: it costs itself alone
            if folder not in LEFT:
                log.error("the spool %s cannot be taken over, it stays as it is: %s", folder, error)
                LEFT.add(folder)
            if lock:
                lock.drop()
            return None

    @property
    def unsent_bytes(self) -> int:
        return self._in_bytes - self._out_bytes

    def append(self, line: bytes) -> None:
        """Appends one event, without a newline in it.

        Raises ValueError if it is longer than a segment, and OSError if there is no room for it on the disk.
        """
        if not self._lock:
            raise RuntimeError("the journal is closed, or it is that of the process that forked this one")
        if not (self._segments and self._segments[-1].append(line)):
            if len(line) >= (limit := segment.SEGMENT_BYTES - HEADER_BYTES):
                raise ValueError(f"an event must be < {limit} bytes, got {len(line)}")
            newest = self._grown()
            newest.append(line)
            self._segments.append(newest)
        self._in_bytes += len(line) + 1
        self.appended += 1

    def _grown(self) -> Segment:
        self._number += 1
        path = self.folder / f"{self._number:08d}.log"
        try:
            return Segment.create(path)
        except FileNotFoundError:
            self.renew()
            return Segment.create(path)

    def renew(self) -> None:
        """Makes the folder and its lock again if somebody has removed them. Raises OSError."""
        with self._renewing:
            if (self.folder / "lock").exists():
                return
            lock, self._lock = self._lock, new_folder(self.folder)
            lock.drop()
            self._named = -1
        log.error("somebody has removed the spool %s or its lock; it is made again", self.folder)

    def touch(self) -> None:
        """Keeps the files young, for those who remove old ones. Raises OSError; FileNotFoundError if one is gone."""
        self.renew()
        for path in (self.folder / "lock", *(each.path for each in list(self._segments))):
            os.utime(path)

    def sync(self) -> None:
        """Makes everything appended so far survive a power cut. Any thread may call it. Raises OSError."""
        number = self._number
        for each in list(self._segments):
            each.sync()
        if number > self._named:
            with suppress(FileNotFoundError):
                durable.sync(self.folder)
                durable.sync(self.folder.parent)
            self._named = number

    def window(self, max_bytes: int) -> list[bytes]:
        """The next unsent events; the same ones again until `mark_sent`. Raises OSError; then ask again."""
        while self._segments:
            # Ask this before reading: a sealed segment grows no more.
            sealed = len(self._segments) > 1 or not self._writable
            lines = self._segments[0].window(max_bytes)
            if lines or not sealed:
                return lines
            self._segments.popleft().path.unlink(missing_ok=True)
        return []

    def mark_sent(self, events: int) -> None:
        self._out_bytes += self._segments[0].mark_sent()
        self.sent += events

    def close(self) -> None:
        """Leaves unsent events to the next process, and removes an empty journal."""
        if not self._lock:
            return
        if not self.unsent_bytes:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.drop()
        self._segments.clear()


def own_root() -> Path:
    """Where the trackers of this project have their journals."""
    return paths.home() / "spool"


class Waiting(NamedTuple):
    folder: Path
    orphaned: bool  # its process is dead
    unsent_bytes: int


def waiting(root: Path) -> list[Waiting]:
    """What waits in the journals of this machine, oldest first; nothing is changed. Raises OSError."""
    if not root.is_dir():
        return []
    with alone(root):
        return [_look(folder) for folder in sorted(root.glob(JOURNALS))]


def _look(folder: Path) -> Waiting:
    lock, unsent_bytes = Lock.claim(folder), 0
    for path in _logs(folder):
        with suppress(FileNotFoundError):  # sent since
            unsent_bytes += Segment(path).unsent_bytes
    if lock is None:
        return Waiting(folder, False, unsent_bytes)
    lock.drop()
    return Waiting(folder, True, unsent_bytes)


def _logs(folder: Path) -> list[Path]:
    """The segments of a journal, oldest first. A power cut can leave an empty file, which is none."""
    return [path for path in sorted(folder.glob("*.log")) if _has_bytes(path)]


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False
