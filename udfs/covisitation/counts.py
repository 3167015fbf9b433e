"""What is viewed together, bought together, and trending: docs/collaborative.md, "Together" and "Trending".

Counts are integers by day. Decay is applied when they are read, with the weight 2^-(age / half life). So the order of
events, the batching and a replay change no bit; a late event counts in its own day; a refund takes back exactly what
its purchase gave. The normalisations are those of item-based collaborative filtering: cosine (Sarwar et al. 2001;
Linden, Smith, York 2003) and lift, both with a shrinkage as in Bell and Koren 2007, section 3.

    >>> day_ms = 86_400_000
    >>> ann = contribution([Event(0, "lamp", "view"), Event(1, "bulb", "click")], day_ms, cap=30)
    >>> bob = contribution([Event(2, "lamp", "view"), Event(3, "bulb", "view")], day_ms, cap=30)
    >>> top(table(merge(ann, bob), "viewed"), "lamp", Decay(as_of=0, half_life=14, horizon=90), n=5, shrink=2.0)
    [('bulb', 0.5)]
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations_with_replacement
from math import fsum, sqrt
from typing import NamedTuple

VIEWED = ("view", "click")
TOUCHED = ("view", "click", "like", "share", "rate", "cart")  # and purchases that were not refunded

Measure = Callable[[float, float, float, float], float]  # together, a, b, shrink -> score


class Event(NamedTuple):
    t_ms: int
    item: str
    action: str


class Cell(NamedTuple):
    """Counts the users whose basket of this kind and bucket holds both a and b, a <= b. If a == b: who hold a."""

    kind: str  # viewed, bought or touched
    bucket: int  # floor(t_ms / bucket_ms)
    a: str
    b: str


Counts = Counter[Cell]
ByBucket = dict[int, float]  # users


class Decay(NamedTuple):
    """How old counts weigh, in buckets. Buckets after `as_of`, and those `horizon` or more before it, do not count."""

    as_of: int
    half_life: float
    horizon: int

    def sum(self, by_bucket: Mapping[int, float]) -> float:
        """The decayed sum of the buckets. It is rounded exactly, so it does not depend on their order."""
        ages = ((self.as_of - bucket, count) for bucket, count in by_bucket.items())
        return fsum(count * 2.0 ** -(age / self.half_life) for age, count in ages if 0 <= age < self.horizon)


def contribution(events: Iterable[Event], bucket_ms: int, cap: int) -> Counts:
    """What one user's events add to the counts: 1 to a cell or nothing, however often the user acts."""
    cells: Counts = Counter()
    for (kind, bucket), items in baskets(events, bucket_ms, cap).items():
        for a, b in combinations_with_replacement(sorted(items), 2):
            if kind != "touched" or a == b:
                cells[Cell(kind, bucket, a, b)] = 1
    return cells


def change(before: Counts, after: Counts) -> Counts:
    """The difference to merge when a user's contribution changes, by a new event, a late one or a refund."""
    return merge(after, Counter({cell: -count for cell, count in before.items()}))


def merge(*parts: Counts) -> Counts:
    """Adds counts up, and drops cells of 0. It is associative and commutative."""
    total: Counts = Counter()
    for part in parts:
        total.update(part)
    return Counter({cell: count for cell, count in total.items() if count})


def baskets(events: Iterable[Event], bucket_ms: int, cap: int) -> dict[tuple[str, int], list[str]]:
    """The baskets of one user: (kind, bucket) -> its first `cap` distinct items.

    Items are in the order of (time of the item's first event in the bucket, item).
    """
    first: dict[tuple[str, int, str], int] = {}
    for kind, event in _kinds(events):
        key = kind, event.t_ms // bucket_ms, event.item
        first[key] = min(first.get(key, event.t_ms), event.t_ms)
    by_bucket: dict[tuple[str, int], list[str]] = {}
    for (kind, bucket, item), _ in sorted(first.items(), key=lambda entry: (entry[1], entry[0])):
        basket = by_bucket.setdefault((kind, bucket), [])
        if len(basket) < cap:
            basket.append(item)
    return by_bucket


def _kinds(events: Iterable[Event]) -> Iterable[tuple[str, Event]]:
    """Yields each event once for each kind to which it belongs."""
    events = list(events)
    for event in events:
        if event.action in VIEWED:
            yield "viewed", event
        if event.action in TOUCHED:
            yield "touched", event
    for event in _standing(events):
        yield "bought", event
        yield "touched", event


def _standing(events: list[Event]) -> Iterable[Event]:
    """Yields the purchases that were not refunded: k refunds of an item take back its k newest purchases."""
    refunds = Counter(event.item for event in events if event.action == "refund")
    for event in sorted(events, reverse=True):
        if event.action == "purchase":
            if refunds[event.item]:
                refunds[event.item] -= 1
            else:
                yield event


class Table(NamedTuple):
    """The counts of one kind, by item."""

    together: dict[str, dict[str, ByBucket]]  # item -> other item -> bucket -> users
    alone: dict[str, ByBucket]  # item -> bucket -> users


def table(counts: Counts, kind: str) -> Table:
    """Turns the cells of one kind into a table by item. A pair is in the table under both of its items."""
    together: dict[str, dict[str, ByBucket]] = {}
    alone: dict[str, ByBucket] = {}
    for cell, count in counts.items():
        if cell.kind != kind:
            continue
        if cell.a == cell.b:
            alone.setdefault(cell.a, {})[cell.bucket] = count
        else:
            for item, other in ((cell.a, cell.b), (cell.b, cell.a)):
                together.setdefault(item, {}).setdefault(other, {})[cell.bucket] = count
    return Table(together, alone)


def cosine(together: float, a: float, b: float, shrink: float) -> float:
    """The shrunk cosine of two items, from the decayed numbers of users who hold both, a, and b."""
    return together / sqrt((a + shrink) * (b + shrink))


def lift(together: float, a: float, b: float, shrink: float) -> float:
    """The shrunk lift of two items, without the factor of the number of baskets: that is the same for a whole list."""
    return together / ((a + shrink) * (b + shrink))


def top(
    counted: Table, item: str, decay: Decay, n: int, shrink: float, measure: Measure = cosine
) -> list[tuple[str, float]]:
    """The n other items with the highest score > 0, best first. Equal scores are in the order of item ids."""
    own = decay.sum(counted.alone.get(item, {}))
    others = counted.together.get(item, {})
    scores = [
        (other, measure(decay.sum(both), own, decay.sum(counted.alone[other]), shrink))
        for other, both in others.items()
    ]
    return best(scores, n)


def trending(counted: Table, decay: Decay, n: int) -> list[tuple[str, float]]:
    """The n items with the most users, decayed, best first. counted: the table of kind `touched`."""
    return best([(item, decay.sum(by_bucket)) for item, by_bucket in counted.alone.items()], n)


def best(scores: list[tuple[str, float]], n: int) -> list[tuple[str, float]]:
    """The n highest scores > 0, the best first; equal ones by item id."""
    return sorted((entry for entry in scores if entry[1] > 0), key=lambda entry: (-entry[1], entry[0]))[:n]
