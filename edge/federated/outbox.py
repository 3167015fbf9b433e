"""The frames for which a node has drawn noise: sealed on disk before any byte leaves, sent unchanged after a crash.

    {node}/sealed/{round}/      the frames of a round, named by chunk; `sent` beside them once Kafka has them all
    {node}/taken.jsonl          one line per sealed round: what it may have cost this node's users

A round is sealed once. If it were sealed twice, with fresh noise, anybody who saw both could average the noise away.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.infra import durable
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum

SENT = "sent"
UNKNOWN_MS = 0  # in lines of older versions, which did not keep opened_ms


class Taken(msgspec.Struct, frozen=True):
    round: int
    population: str
    mechanism: DiscreteGaussianSum
    opened_ms: int = UNKNOWN_MS  # distinguishes the round from another of the same number, after Kafka was lost


class Sealed(NamedTuple):
    frames: list[bytes]
    is_sent: bool


class Folder:
    def __init__(self, node: Path) -> None:
        self._sealed, self._log = node / "sealed", node / "taken.jsonl"
        self._sealed.mkdir(mode=0o700, parents=True, exist_ok=True)
        for draft in self._sealed.glob(".draft-*"):  # left by a crash before the round was sealed
            shutil.rmtree(draft)

    def taken(self) -> list[Taken]:
        """The rounds that were sealed. A line that a crash cut short does not count."""
        lines = self._log.read_bytes().split(b"\n")[:-1] if self._log.is_file() else []
        return [msgspec.json.decode(line, type=Taken) for line in lines if line]

    def seal(self, taken: Taken, frames: list[bytes]) -> None:
        """Writes that the round is taken, then its frames; both are on disk on return.

        Raises ValueError if the round was sealed before.
        """
        if any(each.round == taken.round for each in self.taken()):
            raise ValueError(f"round must be sealed once, got {taken.round} again")
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._sealed))
        for chunk, frame in enumerate(frames):
            durable.write(draft / str(chunk), frame)
        self._note(taken)
        draft.rename(self._sealed / str(taken.round))
        durable.sync(self._sealed)

    def _note(self, taken: Taken) -> None:
        content = self._log.read_bytes() if self._log.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        durable.write(self._log, whole + msgspec.json.encode(taken) + b"\n")

    def of(self, number: int) -> Sealed | None:
        """The frames of a round, in the order of chunks. None if it is not sealed here."""
        folder = self._sealed / str(number)
        if not folder.is_dir():
            return None
        names = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        return Sealed([(folder / str(name)).read_bytes() for name in names], (folder / SENT).exists())

    def mark_sent(self, number: int) -> None:
        durable.write(self._sealed / str(number) / SENT, b"")

    def forget(self, ended: set[int]) -> None:
        """Removes the frames of rounds that are over."""
        for name in os.listdir(self._sealed):
            if name.isdigit() and int(name) in ended:
                shutil.rmtree(self._sealed / name)
