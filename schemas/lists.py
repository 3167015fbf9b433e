"""The list that readers find in Redis: {"version", "as_of_ms", "items": [{"item", "score", "reason"}, ...]}.

The best item comes first. schemas/redis_keys.py names the keys of lists; docs/redis.md says what each list holds.
"""

from collections.abc import Callable

import msgspec

DECIMALS = 7  # of a score: machines could round differently only beyond these


class Entry(msgspec.Struct, frozen=True):
    item: str
    score: float
    reason: str | None = None  # live: the item of the user's history that adds most to the score


class Listed(msgspec.Struct, frozen=True):
    version: str  # empty: the list belongs to no version
    as_of_ms: int
    items: list[Entry]


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Listed)


def encode(listed: Listed) -> bytes:
    return _encoder.encode(listed)


def decode(value: bytes | str) -> Listed:
    """Reads a list. Raises msgspec.DecodeError or UnicodeDecodeError if the value is none."""
    return _decoder.decode(value)


def without(value: bytes, forbids: Callable[[str], bool]) -> bytes | None:
    """Returns the list without the items that are forbidden: the same bytes if it has none, None if it has no other.

    Raises as `decode`.
    """
    listed = decode(value)
    kept = [entry for entry in listed.items if not forbids(entry.item)]
    if len(kept) == len(listed.items):
        return value
    return encode(Listed(listed.version, listed.as_of_ms, kept)) if kept else None
