"""docs/collaborative.md, "Together" and "Trending", recounted in plain loops: what each list in Redis must be.

It shares no code with udfs, jobs or the Java, and reads the topic, not our output. After each event it makes the user's
baskets again from all their events, and the differences move the counts.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from math import floor, frexp, fsum, sqrt
from typing import Any, NamedTuple, Protocol

from headrace.schemas import redis_keys
from tests.oracles.contract import Contract

DAY_MS = 86_400_000
VIEWED = ("view", "click")
TOUCHED = ("view", "click", "like", "share", "rate", "cart")
TRADED = ("purchase", "refund")
DECIMALS = 7


class Rules(Protocol):
    top_n: int
    cap: int
    half_life_days: float
    horizon_days: int
    shrink: float


class Acted(NamedTuple):
    t: int
    item: str
    action: str


class Cell(NamedTuple):
    kind: str
    bucket: int
    a: str
    b: str


class User:
    def __init__(self) -> None:
        self.events: list[Acted] = []
        self.traded: list[str] = []  # event ids
        self.first: dict[tuple[int, str, str], int] = {}
        self.newest = -(10**9)  # bucket
        self.cells: set[Cell] = set()


class Covisitation:
    def __init__(self, rules: Rules, history: int, future_ms: int) -> None:
        self.rules, self.history, self.future_ms = rules, history, future_ms
        self.contract = Contract("click")
        self.users = defaultdict[str, User](User)
        self.counts = Counter[Cell]()
        self.as_of_ms: dict[tuple[str, str], int] = {}  # of (kind, item)
        self.paths = Counter[str]()

    def feed(self, record: Any) -> None:
        click, reason = self.contract.check(record.value)
        if reason or click["ts_ms"] > record.timestamp + self.future_ms:
            self.paths["refused"] += 1
        elif click["action"] in TOUCHED + TRADED:
            acted = Acted(min(click["ts_ms"], record.timestamp), click["item_id"], click["action"])
            self.paths[self.enter(click["user_id"], click["event_id"], acted, record.timestamp)] += 1

    def enter(self, name: str, event_id: str, acted: Acted, append_ms: int) -> str:
        user, bucket = self.users[name], acted.t // DAY_MS
        if bucket <= user.newest - self.rules.horizon_days:
            return "too old"
        if acted.action in TRADED:
            if event_id in user.traded[-self.history :]:
                return "repeat"
            user.traded.append(event_id)
        elif acted.t >= user.first.get((bucket, acted.item, acted.action), 1 << 62):
            return "again"  # a set of items has it already
        else:
            user.first[bucket, acted.item, acted.action] = acted.t
        user.newest = max(user.newest, bucket)
        user.events.append(acted)
        self.move(user, append_ms)
        return "late" if bucket < user.newest else "counted"

    def move(self, user: User, append_ms: int) -> None:
        oldest = user.newest - self.rules.horizon_days + 1
        user.events = [event for event in user.events if event.t // DAY_MS >= oldest]
        cells = set(self.cells(user.events))
        for sign, moved in ((-1, user.cells - cells), (1, cells - user.cells)):
            for cell in moved:
                self.counts[cell] += sign
                for item in ("",) if cell.kind == "touched" else (cell.a, cell.b):
                    key = cell.kind, item
                    self.as_of_ms[key] = max(append_ms, self.as_of_ms.get(key, 0))
        user.cells = cells

    def cells(self, events: list[Acted]) -> Iterator[Cell]:
        standing = purchases_that_stand(events)
        viewed = [event for event in events if event.action in VIEWED]
        touched = [event for event in events if event.action in TOUCHED] + standing
        for kind, did in {"viewed": viewed, "bought": standing, "touched": touched}.items():
            for bucket in {event.t // DAY_MS for event in did}:
                first: dict[str, int] = {}
                for event in sorted(did):
                    if event.t // DAY_MS == bucket:
                        first.setdefault(event.item, event.t)
                items = sorted(first, key=lambda item: (first[item], item))[: self.rules.cap]
                for a in items:
                    for b in items:
                        if a == b or (a < b and kind != "touched"):
                            yield Cell(kind, bucket, a, b)

    def redis(self, forbidden: Collection[str] = ()) -> dict[str, tuple[dict[str, Any], int]]:
        """Returns key -> (the list, when it expires). forbidden: items that no list may hold."""
        found, n = {}, self.rules.top_n
        for kind, key in (("viewed", redis_keys.also_viewed), ("bought", redis_keys.bought_together)):
            for item, entries in self.lists(kind, n + len(forbidden)).items():
                if allowed := without(entries, forbidden)[:n]:
                    found[key(item)] = self.listed(kind, item, allowed)
        if allowed := without(self.trending(n + len(forbidden)), forbidden)[:n]:
            found[redis_keys.trending()] = self.listed("touched", "", allowed)
        return found

    def listed(self, kind: str, item: str, entries: list[tuple[str, float]]) -> tuple[dict[str, Any], int]:
        as_of_ms = self.as_of_ms[kind, item]
        items = [{"item": other, "score": round(score, DECIMALS), "reason": item or None} for other, score in entries]
        return {"version": "", "as_of_ms": as_of_ms, "items": items}, as_of_ms + redis_keys.TOGETHER_TTL_MS

    def lists(self, kind: str, n: int) -> dict[str, list[tuple[str, float]]]:
        alone, both = self.of(kind)
        totals = {item: self.total(users) for item, users in alone.items()}
        lists = {}
        for a, others in both.items():
            as_of = max(alone[a])
            total = {item: self.at(totals[item], as_of) for item in (a, *others)}
            s = self.rules.shrink
            scores = [
                (b, self.decayed(users, as_of) / sqrt((total[a] + s) * (total[b] + s))) for b, users in others.items()
            ]
            lists[a] = best(scores, n)
        return lists

    def total(self, users: dict[int, int]) -> tuple[int, float]:
        """Returns (power of two, mantissa) of an item's total as of bucket 0, which itself can be beyond float64."""
        half_lives = max(users) / self.rules.half_life_days
        power = floor(half_lives)
        fraction, exponent = frexp(self.decayed(users, max(users)) * 2.0 ** (half_lives - power))
        return power + exponent - 1, floor(fraction * 4) / 2

    def at(self, total: tuple[int, float], as_of: int) -> float:
        power, mantissa = total
        return mantissa * float(2.0 ** (power - as_of / self.rules.half_life_days))

    def trending(self, n: int) -> list[tuple[str, float]]:
        alone, _ = self.of("touched")
        as_of = max((bucket for users in alone.values() for bucket in users), default=0)
        return best([(item, self.decayed(users, as_of)) for item, users in alone.items()], n)

    def of(self, kind: str) -> tuple[dict[str, dict[int, int]], dict[str, dict[str, dict[int, int]]]]:
        """Returns item -> bucket -> users, and item -> other item -> bucket -> users."""
        alone = defaultdict[str, dict[int, int]](dict)
        both = defaultdict[str, dict[str, dict[int, int]]](lambda: defaultdict(dict))
        for cell, users in self.counts.items():
            assert users >= 0
            if cell.kind == kind and users:
                if cell.a == cell.b:
                    alone[cell.a][cell.bucket] = users
                else:
                    both[cell.a][cell.b][cell.bucket] = both[cell.b][cell.a][cell.bucket] = users
        return alone, both

    def decayed(self, users: dict[int, int], as_of: int) -> float:
        ages = [(as_of - bucket, n) for bucket, n in users.items()]
        return fsum(
            n * 2.0 ** -(age / self.rules.half_life_days) for age, n in ages if 0 <= age < self.rules.horizon_days
        )


def purchases_that_stand(events: list[Acted]) -> list[Acted]:
    left = [event for event in events if event.action == "purchase"]
    for refund in events:
        theirs = [event for event in left if event.item == refund.item]
        if refund.action == "refund" and theirs:
            left.remove(max(theirs))
    return left


def best(scores: list[tuple[str, float]], n: int) -> list[tuple[str, float]]:
    return sorted((entry for entry in scores if entry[1] > 0), key=lambda entry: (-entry[1], entry[0]))[:n]


def without(entries: list[tuple[str, float]], forbidden: Collection[str]) -> list[tuple[str, float]]:
    return [entry for entry in entries if entry[0] not in forbidden]
