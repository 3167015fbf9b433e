"""A user's recent events, as the JVM packs them (udfs/jvm/UserHistory.java, Event.write).

Events follow one another, oldest arrival first. Each is little-endian: body length u16, id i64, t i64, session i32,
category i64, action u8 (its place in the schema), item UTF-8. The length counts the bytes after it.
"""

import struct
from typing import NamedTuple

EVENT = struct.Struct("<HqqiqB")  # then the item
_READ = struct.Struct("<H8xq12xB")  # the same bytes, reduced to body length, t and action


class Recent(NamedTuple):
    """The columns of a user's events, in the order of arrival."""

    items: list[str]  # empty for an event on no item
    actions: list[int]
    t_ms: list[int]


def decode(packed: bytes) -> Recent:
    """Reads the packed events of one user."""
    items, actions, t_ms = [], [], []
    at, end = 0, len(packed)
    while at < end:
        body, t, action = _READ.unpack_from(packed, at)
        items.append(packed[at + EVENT.size : at + 2 + body].decode())
        actions.append(action)
        t_ms.append(t)
        at += 2 + body
    return Recent(items, actions, t_ms)
