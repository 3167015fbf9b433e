"""What was ever opened: one line of JSON per opening, synced to disk before its result leaves the key holder.

A crash before the line is whole charges nothing and publishes nothing. A crash after it has charged once: the holder
finds the line, opens the same sums again, and only those, and publishes what it would have published.
"""

import os
from pathlib import Path

import msgspec

from headrace.infra import durable
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum, Disjoint, Mechanism


class Opening(msgspec.Struct, frozen=True):
    round: int
    attempt: int
    population: str
    digest: str  # of the cohort and the ciphertexts
    parts: list[DiscreteGaussianSum]
    nodes: int
    epsilon: float | None  # spent by the population, including this opening; None: without bound
    at_ms: int

    def mechanism(self) -> Mechanism:
        return self.parts[0] if len(self.parts) == 1 else Disjoint(tuple(self.parts))


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.openings: dict[int, Opening] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(path, len(whole))
        for line in whole.splitlines():
            self._remember(msgspec.json.decode(line, type=Opening))

    def spent(self, population: str) -> list[Mechanism]:
        """The mechanisms of all openings of a population."""
        return [each.mechanism() for each in self.openings.values() if each.population == population]

    def charge(self, opening: Opening) -> None:
        """Writes an opening; it is on disk on return. Raises ValueError if its round was charged before."""
        if opening.round in self.openings:
            raise ValueError(f"round must be charged once, got {opening.round} again")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(opening) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync(self._path.parent)
        self._remember(opening)

    def _remember(self, opening: Opening) -> None:
        self.openings[opening.round] = opening
