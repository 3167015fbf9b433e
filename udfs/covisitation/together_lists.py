"""Lists of what goes together, from the scores of one item's others that the JVM sends (udfs/jvm, Ranking.java).

docs/collaborative.md, "Together" and "Trending", defines them; udfs/covisitation/counts.py has the maths. The others
are packed little-endian, the best first: score f64, u16 length of its name, its name in UTF-8. They are the 200 that
rank first. The score of a list is that score over `norm`, what the item's own total gives to all of them alike.
"""

import struct
from collections.abc import Callable, Iterator

from headrace.schemas.lists import DECIMALS, Entry, Listed, encode

KINDS = ("viewed", "bought", "touched")  # as the JVM numbers them; `touched` is one list for everybody
TOUCHED = KINDS.index("touched")
_HEAD = struct.Struct("<dH")


def _nothing(_: str) -> bool:
    return False


def listed(
    kind: int,
    item: str,
    packed: bytes,
    norm: float,
    as_of_ms: int,
    n: int,
    forbids: Callable[[str], bool] = _nothing,
) -> bytes | None:
    """The list of one kind as JSON: of one item, or of everybody for `touched`. None if it is empty.

    n: the most items; forbids: whether no list may hold an item. Such an item has a list of its own.
    """
    reason = None if kind == TOUCHED else item
    items: list[Entry] = []
    for other, score in decode(packed):
        if len(items) == n:
            break
        if not forbids(other):
            items.append(Entry(other, round(score / norm, DECIMALS), reason))
    return encode(Listed("", as_of_ms, items)) if items else None


def decode(packed: bytes) -> Iterator[tuple[str, float]]:
    """Yields the packed others, each with its score."""
    at, end = 0, len(packed)
    while at < end:
        score, length = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        yield packed[at : at + length].decode(), score
        at += length
