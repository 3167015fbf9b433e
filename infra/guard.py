"""Ciphertexts tried in a process of their own: TenSEAL may end the process that reads hostile bytes.

    python -m infra.guard      standard input: (length u32, body)*; standard output: a byte each, 1 if the body loads

A worker that dies takes one body with it, the one it had begun.
"""

import struct
import subprocess
import sys
from collections.abc import Sequence

_LENGTH = struct.Struct("<I")


class Guard:
    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None

    def loadable(self, bodies: Sequence[bytes]) -> list[bool]:
        found: list[bool] = []
        while len(found) < len(bodies):
            answers = self._ask(bodies[len(found) :])
            found += [answer == 1 for answer in answers]
            if len(found) < len(bodies):
                found.append(False)
                self.close()
        return found

    def _ask(self, bodies: Sequence[bytes]) -> bytes:
        """An answer a body; fewer if the worker died."""
        if self._worker is None:
            command = [sys.executable, "-m", "infra.guard"]
            self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._worker.stdin
        assert self._worker.stdout
        try:
            for body in bodies:
                self._worker.stdin.write(_LENGTH.pack(len(body)))
                self._worker.stdin.write(body)
            self._worker.stdin.flush()
        except BrokenPipeError:
            pass
        return self._worker.stdout.read(len(bodies))

    def close(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            self._worker = None


def main() -> None:
    from infra.homomorphic import Adder

    adder = Adder()
    source, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(_LENGTH.size):
        try:
            adder.add([source.read(*_LENGTH.unpack(header))])
            answers.write(b"\x01")
        except (ValueError, RuntimeError):
            answers.write(b"\x00")
        answers.flush()


if __name__ == "__main__":
    main()
