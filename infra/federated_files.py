"""Where the parties of federated rounds keep their files. No party reads another one's, but for the public ones.

{home}/federated/
  public/{key id}.key        the public keys, and items.json, the default model's items: for everybody
  nodes/{node}/secret.json   a node's two keys, mode 600; the updates that it sealed in rounds that have not ended
  aggregator/macs.json       by node, the key that authenticates its frames: for Flink's workers
  holder/                    the secret keys; tags.json, by node, the key of its tags; the ledger
"""

import os
from pathlib import Path

import msgspec

from headrace.infra import durable, paths

MACS, TAGS, SECRET, ITEMS = "macs.json", "tags.json", "secret.json", "items.json"


def root() -> Path:
    return paths.home() / "federated"


def public() -> Path:
    return root() / "public"


def public_key(key_id: str) -> Path:
    return public() / f"{key_id}.key"


def node(name: str) -> Path:
    return root() / "nodes" / name


def nodes() -> list[str]:
    return sorted(path.parent.name for path in root().glob(f"nodes/*/{SECRET}"))


def aggregator() -> Path:
    return root() / "aggregator"


def holder() -> Path:
    return root() / "holder"


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    before = os.umask(0o077)
    try:
        durable.write(path, content)
    finally:
        os.umask(before)


class Keys:
    """One party's key file, {node: key}, for a long-running program. `current` reads it again after it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, bytes] = {}

    def current(self) -> dict[str, bytes]:
        """Returns the keys by node; none until the file is there."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return self._keys
        seen = status.st_ino, status.st_mtime_ns
        if seen != self._seen:
            keys = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
            self._keys, self._seen = {node: bytes.fromhex(key) for node, key in keys.items()}, seen
        return self._keys
