"""Lists of what goes together, from the counts that the JVM keeps of one item (udfs/jvm/Together.java).

docs/collaborative.md, "Together" and "Trending", defines them; udfs/covisitation/counts.py has the maths. The counts
are packed little-endian, one other item after another: u16 lengths of its name and of the rest; its name in UTF-8; its
total, as newest bucket i32 and users f64, rounded and decayed as of that bucket; then bucket i32 and users i32 for each
bucket in which users hold both items.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from headrace.schemas.lists import DECIMALS, Entry, Listed, encode
from headrace.udfs.covisitation import counts
from headrace.udfs.covisitation.counts import ByBucket, Decay, Table

KINDS = ("viewed", "bought", "touched")  # as the JVM numbers them; `touched` is one list for everybody
TOUCHED = KINDS.index("touched")
_LENGTHS, _TOTAL, _CELL = struct.Struct("<HH"), struct.Struct("<id"), struct.Struct("<ii")


class ListRules(NamedTuple):
    n: int
    half_life: float  # in buckets
    horizon: int
    shrink: float


class Other(NamedTuple):
    item: str
    newest: int  # bucket
    users: float  # who hold it, decayed as of `newest`
    both: ByBucket  # users who hold both items


def _nothing(_: str) -> bool:
    return False


def listed(
    kind: int, item: str, packed: bytes, as_of_ms: int, rules: ListRules, forbids: Callable[[str], bool] = _nothing
) -> bytes | None:
    """The list of one kind as JSON: of one item, or of everybody for `touched`. None if it is empty.

    forbids: whether no list may hold an item. It still counts in `as_of`, and has a list of its own.
    """
    others = decode(packed)
    decay = Decay(max((_newest(other) for other in others), default=0), rules.half_life, rules.horizon)
    if kind == TOUCHED:
        touched = {other.item: other.both for other in others if not forbids(other.item)}
        entries = counts.trending(Table({}, touched), decay, rules.n)
    else:
        both = {other.item: other.both for other in others if other.item != item and not forbids(other.item)}
        totals: dict[str, ByBucket] = {other.item: {other.newest: other.users} for other in others}
        entries = counts.top(Table({item: both}, totals), item, decay, rules.n, rules.shrink)
    reason = None if kind == TOUCHED else item
    items = [Entry(name, round(score, DECIMALS), reason) for name, score in entries]
    return encode(Listed("", as_of_ms, items)) if items else None


def _newest(other: Other) -> int:
    return max(other.newest, *other.both)


def decode(packed: bytes) -> list[Other]:
    """Reads the packed counts of one item."""
    others, at, end = [], 0, len(packed)
    while at < end:
        name, rest = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        item = packed[at : at + name].decode()
        newest, users = _TOTAL.unpack_from(packed, at + name)
        cells = packed[at + name + _TOTAL.size : at + name + rest]
        others.append(Other(item, newest, users, dict(_CELL.iter_unpack(cells))))
        at += name + rest
    return others
