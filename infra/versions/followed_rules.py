"""The rules of items as a long-running program follows them, without a restart.

A change counts once the files have rested for a look: a stock list that is still being written is not half a shop.
"""

import math
import os
import time
from pathlib import Path

from headrace.infra.versions import rules, store
from headrace.infra.versions.rules import ItemRules

AGAIN_S = 60.0  # a file that could not be read for a moment, or a stock list whose version comes later
Seen = tuple[tuple[int, int, int] | None, ...]  # inode, time and size of each file; None: it is not there


def of(path: str) -> "RulesFollower":
    """Follows the rules at a path. Raises HeadraceError or OSError if they are wrong now."""
    return RulesFollower(Path(path), rules.read(Path(path)))


class RulesFollower:
    """`held` are the rules in force. They begin as those of the submission, which hold where the file is not seen."""

    def __init__(self, path: Path, held: ItemRules) -> None:
        self.path, self.held = path, held
        self._files = [path]
        self._seen: Seen = ()
        self._read: Seen = ()
        self._again_s = math.inf  # when what failed is read again

    def look(self) -> bool:
        """Reads the files if they have changed and rested since the last look. Returns whether `held` is another now.

        Raises HeadraceError or OSError if they are wrong, then every AGAIN_S; `held` stays.
        """
        seen = self._stats()
        rested, self._seen = seen == self._seen, seen
        due = seen != self._read or time.monotonic() >= self._again_s
        return rested and due and self.read()

    def read(self) -> bool:
        """Reads the files as they are now; else as `look`."""
        self._read, self._again_s = self._stats(), time.monotonic() + AGAIN_S  # if it fails
        self._files = [self.path, *rules.files(rules.parse(self.path), self.path).values()]
        self._read = self._stats()  # before their contents: a change from now on is seen
        pointer = store.current()
        found = rules.in_stock(self.path, store.items(pointer.version) if pointer else ())
        self._again_s = math.inf
        changed = found != self.held
        if changed:  # what is equal stays the same object
            self.held = found
        return changed

    def _stats(self) -> Seen:
        return tuple(map(_stat, self._files))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
