"""A segment of the spool (edge/spool.py): a memory-mapped file of fixed size, whose disk space is reserved.

A line that was copied into the mapping belongs to the kernel: killing the process loses nothing. Only `sync` makes it
survive a power cut. (The first version called write() per event. Each call released Python's lock, and beside a busy
sending thread it took 50 us to get it back. The copy takes 1 us.) A disk that fails to give back a page, and a segment
that somebody makes shorter, end the process (SIGBUS); a segment that somebody removes does not.
"""

import mmap
import os
from contextlib import suppress
from pathlib import Path

from headrace.infra import durable

HEADER_BYTES = 21  # 20 digits and a newline
SEGMENT_BYTES = 8 << 20


class Segment:
    """One file of a journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fd = os.open(path, os.O_RDWR)
        try:
            self._map = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        header = self._map[: HEADER_BYTES - 1]
        self.start = int(header) if header.isdigit() else HEADER_BYTES  # a power cut can leave zeros
        self.end = max(self.start, self._map.rfind(b"\n") + 1)  # a line without its newline was never promised
        self._window_bytes = 0
        self._synced = 0  # bytes that survive a power cut

    @classmethod
    def create(cls, path: Path) -> "Segment":
        """Makes an empty segment and reserves its disk space. Raises OSError, and leaves nothing, if it cannot."""
        draft = path.with_suffix(".new")
        try:
            fd = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(fd, 0, SEGMENT_BYTES)  # a full disk fails here, not with a SIGBUS in the mapping
                os.pwrite(fd, b"%020d\n" % HEADER_BYTES, 0)
            finally:
                os.close(fd)
            draft.rename(path)
            return cls(path)
        except OSError:
            for file in (draft, path):
                with suppress(OSError):
                    file.unlink(missing_ok=True)
            raise

    @property
    def unsent_bytes(self) -> int:
        return self.end - self.start

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
        """Raises OSError. A file that is gone was sent, or somebody removed it."""
        end = self.end
        if end > self._synced:
            with suppress(FileNotFoundError):
                durable.sync(self.path)  # it includes mapped pages
            self._synced = end
