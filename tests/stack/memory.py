"""Whether a process holds some bytes: the test reads all memory that the process can write to."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")
AT_A_TIME = 1 << 24
HOLD = "import sys, time; held = bytes.fromhex(sys.argv[1]); print(len(held), flush=True); time.sleep(600)"


def held(pid: int, needles: dict[str, bytes]) -> set[str]:
    """Returns the names of the needles in the memory of the process; an ended one has none."""
    overlap, found = max(map(len, needles.values())), set()
    with contextlib.suppress(ProcessLookupError), Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for begin, end in mappings(pid):
            for at in range(begin, end, AT_A_TIME):
                piece = read(memory.fileno(), at, min(AT_A_TIME + overlap, end - at))
                found |= {name for name, needle in needles.items() if needle in piece}
    return found


def mappings(pid: int) -> list[tuple[int, int]]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    found = [match for match in map(WRITABLE.match, lines) if match]
    return [(int(match[1], 16), int(match[2], 16)) for match in found]


def read(descriptor: int, at: int, size: int) -> bytes:
    with contextlib.suppress(OSError):  # a mapping that went, or a page of a device
        return os.pread(descriptor, size, at)
    return b""


@contextlib.contextmanager
def canary(needle: bytes) -> Iterator[int]:
    """Returns the pid of a process that holds the needle, to show that a scan can find it."""
    with subprocess.Popen([sys.executable, "-c", HOLD, needle.hex()], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == len(needle)
        yield process.pid
        process.kill()
