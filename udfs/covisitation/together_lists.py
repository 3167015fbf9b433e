"""Lists of what goes together, from the counts of one item that the JVM sends (udfs/jvm, Together.java).

docs/collaborative.md, "Together" and "Trending", defines them; udfs/covisitation/counts.py has the maths. The counts
are packed little-endian, one item after another: u16 lengths of its name and of the rest; its name in UTF-8; its total,
as the bucket i32 as of which it is and its value f64; then bucket i32 and users i32 for each bucket in which users hold
both items. They are those of the item itself, and of the 200 others that rank first, the best first: a list looks at no
more of them than it needs.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from headrace.schemas.lists import DECIMALS, Entry, Listed, encode
from headrace.udfs.covisitation import counts
from headrace.udfs.covisitation.counts import ByBucket, Decay

KINDS = ("viewed", "bought", "touched")  # as the JVM numbers them; `touched` is one list for everybody
TOUCHED = KINDS.index("touched")
CLOSE = 1e-6  # more than two orders by score can differ: the JVM rounds sums in another way
_LENGTHS, _TOTAL, _CELL = struct.Struct("<HH"), struct.Struct("<id"), struct.Struct("<ii")


class ListRules(NamedTuple):
    n: int
    half_life: float  # in buckets
    horizon: int
    shrink: float


class Other(NamedTuple):
    item: str
    as_of: int  # bucket
    users: float  # who hold it, decayed as of then
    both: ByBucket  # users who hold both items


def _nothing(_: str) -> bool:
    return False


def listed(
    kind: int,
    item: str,
    packed: bytes,
    bucket: int,
    as_of_ms: int,
    rules: ListRules,
    forbids: Callable[[str], bool] = _nothing,
) -> bytes | None:
    """The list of one kind as JSON: of one item, or of everybody for `touched`. None if it is empty.

    bucket: as of which it is; forbids: whether no list may hold an item. Such an item has a list of its own.
    """
    decay = Decay(bucket, rules.half_life, rules.horizon)
    scores: list[tuple[str, float]] = []
    own = 0.0
    for other in decode(packed):
        if kind != TOUCHED and other.item == item:
            own = _total(other, decay)
        elif not forbids(other.item):
            score = decay.sum(other.both)
            if kind != TOUCHED:
                score = counts.cosine(score, own, _total(other, decay), rules.shrink)
            if len(scores) >= rules.n and score < scores[rules.n - 1][1] * (1 - CLOSE):
                break
            scores.append((other.item, score))
    reason = None if kind == TOUCHED else item
    items = [Entry(name, round(score, DECIMALS), reason) for name, score in counts.best(scores, rules.n)]
    return encode(Listed("", as_of_ms, items)) if items else None


def _total(other: Other, decay: Decay) -> float:
    return other.users * float(2.0 ** -((decay.as_of - other.as_of) / decay.half_life))


def decode(packed: bytes) -> Iterator[Other]:
    """Yields the packed counts of one item."""
    at, end = 0, len(packed)
    while at < end:
        name, rest = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        item = packed[at : at + name].decode()
        as_of, users = _TOTAL.unpack_from(packed, at + name)
        cells = packed[at + name + _TOTAL.size : at + name + rest]
        yield Other(item, as_of, users, dict(_CELL.iter_unpack(cells)))
        at += name + rest
