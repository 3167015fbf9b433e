"""The value of `session:{user}`: the features of a live session, as one JSON object (docs/semantics.md)."""

from typing import Any

import msgspec

_decoder = msgspec.json.Decoder(dict[str, Any])


def decode(value: bytes | str | None) -> dict[str, Any]:
    """Reads the features of a user. Empty if there is no value. Raises msgspec.DecodeError or UnicodeDecodeError."""
    return {} if value is None else _decoder.decode(value)
