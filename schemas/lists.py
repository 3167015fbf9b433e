"""The list that readers find in Redis: {"version", "as_of_ms", "items": [{"item", "score", "reason"}, ...]}.

The best item comes first. schemas/redis_keys.py says under which keys; docs/redis.md what each of them holds.
"""

import msgspec

DECIMALS = 7  # of a score: what machines could round differently lies beyond


class Entry(msgspec.Struct, frozen=True):
    item: str
    score: float
    reason: str | None = None  # live: the item of the user's history that adds most to the score


class Listed(msgspec.Struct, frozen=True):
    version: str  # empty: of no version
    as_of_ms: int
    items: list[Entry]


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Listed)


def encode(listed: Listed) -> bytes:
    return _encoder.encode(listed)


def decode(value: bytes | str) -> Listed:
    """Raises msgspec.DecodeError or UnicodeDecodeError if the value is no list."""
    return _decoder.decode(value)
