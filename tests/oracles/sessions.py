"""docs/semantics.md recomputed in plain Python: what Redis, `sessions` and `dead_letters` must hold at the end.

It shares no code with udfs, jobs or the Java, and reads the topic in offset order, not our output. The watermark is
ideal here: it closes nothing before `finish`. `at_risk` counts the accepted events that a moving watermark could have
treated otherwise, so a test whose stream has none may demand that everything is equal.
"""

from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from headrace.schemas import redis_keys
from tests.oracles.contract import Contract
from tests.oracles.live import Event, Live, event_of, fields, recent

HIDDEN_MAX = 1_000
SPAN_ITEMS, SPAN_BYTES = 1_000, 900_000
HUNDRED_YEARS_MS = 36_525 * 86_400_000


class SessionSettings(Protocol):
    gap_ms: int
    lateness_ms: int
    future_ms: int
    forget_ms: int
    history: int
    recent: int
    bought_hidden_ms: int
    time_zone: str

    @property
    def boundary(self) -> str: ...


class DeadLetter(NamedTuple):
    partition: int
    offset: int
    reason: str  # the first one found; several joined by | where the record breaks several rules
    raw: bytes | None
    key: bytes | None


@dataclass(eq=False)
class Span:
    """Accepted events that no emitted span holds, each at most a gap after the one before it by event time."""

    start: int
    end: int
    counts: Counter[str] = field(default_factory=Counter)
    items: dict[str, int] = field(default_factory=dict)  # time of first event

    def absorb(self, other: "Span") -> None:
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.counts.update(other.counts)
        for item, t in other.items.items():
            self.items[item] = min(t, self.items.get(item, t))

    def record(self, user_id: str) -> dict[str, Any]:
        items = sorted(self.items, key=lambda item: (self.items[item], item))
        bytes_so_far = list(accumulate(map(json_bytes, items)))
        listed = min(SPAN_ITEMS, bisect_right(bytes_so_far, SPAN_BYTES))
        return {
            "user_id": user_id, "start_ms": self.start, "end_ms": self.end,
            "events": self.counts.total(), "counts": dict(self.counts), "items": items[:listed],
            "distinct_items": len(items), "truncated": len(items) > listed,
        }  # fmt: skip


def json_bytes(item: str) -> int:
    """What docs/semantics.md counts for an id in `items`."""
    of_character = (12 if char > "\uffff" else 6 if char < " " else 2 if char < "\x80" else 3 for char in item)
    return 3 + sum(of_character)


@dataclass
class User:
    window: deque[Event]
    clock: int = -1
    accepted: int = 0
    as_of_ms: int = 0
    live: Live | None = None
    spans: list[Span] = field(default_factory=list)


class Oracle:
    def __init__(self, session: SessionSettings) -> None:
        self.session = session
        self.contract = Contract("click")
        self.actions = next(f["type"]["symbols"] for f in self.contract.fields if f["name"] == "action")
        self.users: dict[str, User] = {}
        self.forgotten: dict[str, dict[str, str]] = {}  # Redis still shows what a forgotten user had
        self.refused: dict[str, dict[str, int]] = {}  # by user and item: until when nobody shows it to the user
        self.closed: list[dict[str, Any]] = []
        self.dead: list[DeadLetter] = []
        self.counts: Counter[str] = Counter()
        self.highest: dict[int, int] = {}  # t, per partition
        self.at_risk = 0

    def feed(self, partition: int, offset: int, append_ms: int, key: bytes | None, value: bytes | None) -> str:
        """Returns the path that this record takes: applied, late, repeat, or the reason of its dead letter."""
        click, reason = self.contract.check(value)
        t, highest = self._time(click, append_ms), self.highest.get(partition, 0)
        path = f"dead {reason}" if reason else "dead future" if t is None else self._enter(click, t, append_ms, highest)
        self.highest[partition] = max(highest, 0 if reason else t or 0)
        self.counts[path] += 1
        if path.startswith("dead"):
            raw = None if reason == "size" else value
            self.dead.append(DeadLetter(partition, offset, path.removeprefix("dead "), raw, key))
        return path

    def _time(self, click: dict[str, Any], append_ms: int) -> int | None:
        ts_ms = click.get("ts_ms")
        return min(ts_ms, append_ms) if type(ts_ms) is int and ts_ms <= append_ms + self.session.future_ms else None

    def _enter(self, click: dict[str, Any], t: int, append_ms: int, highest: int) -> str:
        user = self.users.get(click["user_id"]) or User(deque(maxlen=self.session.history))
        self.at_risk += user.clock >= 0 and user.clock + self.session.forget_ms < highest
        event = event_of(click, t)
        self._hide(click["user_id"], event)
        path = self._judge(user, event, highest)
        if path != "dead late":
            user.as_of_ms = append_ms
            self.users[click["user_id"]] = user
            self._close(click["user_id"], user, user.clock)
        return path

    def _judge(self, user: User, event: Event, highest: int) -> str:
        if any(event.event_id == earlier.event_id for earlier in user.window):
            user.live.repeats += 1  # type: ignore[union-attr]
            return "repeat"
        near = [s for s in user.spans if s.start - self.session.gap_ms <= event.t <= s.end + self.session.gap_ms]
        if not near and self._passed(event.t, user.clock):
            return "dead late"
        self.at_risk += any(self._passed(span.end, highest) for span in near)
        self._join(user, event, near)
        user.accepted += 1
        user.clock = max(user.clock, event.t)
        user.window.append(event)
        return self._enter_live(user, event)

    def _hide(self, user_id: str, event: Event) -> None:
        ends = {"block": event.t + HUNDRED_YEARS_MS, "dislike": event.t + HUNDRED_YEARS_MS}
        ends["purchase"] = event.t + self.session.bought_hidden_ms
        if event.action in ends:
            until = self.refused.setdefault(user_id, {})
            until[event.item_id] = max(ends[event.action], until.get(event.item_id, 0))

    def _passed(self, end: int, clock: int) -> bool:
        return end + self.session.gap_ms + self.session.lateness_ms < clock

    def _join(self, user: User, event: Event, near: list[Span]) -> None:
        span = Span(event.t, event.t, Counter([event.action]))
        if event.action != "search":
            span.items[event.item_id] = event.t
        first, *others = sorted([*near, span], key=lambda s: -len(s.items))
        for other in others:
            first.absorb(other)
        user.spans = [s for s in user.spans if s not in near] + [first]

    def _enter_live(self, user: User, event: Event) -> str:
        live = user.live
        if live:
            differ = bool(event.session_id and live.session_id and event.session_id != live.session_id)
            other = differ and self.session.boundary == "client"
            if event.t < live.start - self.session.gap_ms or (other and event.t < live.start):
                live.late += 1
                return "late"
        if live is None or other or event.t > live.end + self.session.gap_ms:
            live = user.live = Live(event.session_id, event.t, event.t)
        live.apply(event)
        return "applied"

    def _close(self, user_id: str, user: User, clock: int) -> None:
        for span in [s for s in user.spans if self._passed(s.end, clock)]:
            user.spans.remove(span)
            self.closed.append(span.record(user_id))

    def advance(self, watermark: int) -> None:
        """Closes the spans and forgets the users that the topic's watermark has passed."""
        for user_id, user in list(self.users.items()):
            self._close(user_id, user, watermark)
            if user.clock + self.session.forget_ms < watermark:
                self.forgotten[user_id] = self._features(user)
                del self.users[user_id]

    def finish(self, watermark: int | None = None) -> None:
        """Lets the final watermark pass; by default the lowest over the partitions of the highest t."""
        self.advance(min(self.highest.values()) if watermark is None else watermark)

    def redis(self) -> dict[str, dict[str, str]]:
        live = {user_id: self._features(user) for user_id, user in self.users.items()}
        return {redis_keys.session(user_id): fields for user_id, fields in {**self.forgotten, **live}.items()}

    def hidden(self, now_ms: int) -> dict[str, dict[str, int]]:
        """Returns key -> item -> ms, of those that are hidden after now: of each user the 1,000 with the highest ms."""
        found = {}
        for user_id, until in self.refused.items():
            last = sorted(until, key=lambda item: (until[item], item.encode()))[-HIDDEN_MAX:]
            if later := {item: until[item] for item in last if until[item] > now_ms}:
                found[redis_keys.hidden(user_id)] = later
        return found

    def expiries_ms(self) -> dict[str, int]:
        return {key: int(fields["as_of_ms"]) + redis_keys.SESSION_TTL_MS for key, fields in self.redis().items()}

    def sessions(self) -> list[dict[str, Any]]:
        return sorted(self.closed, key=lambda s: (s["user_id"], s["start_ms"], s["end_ms"]))

    def dead_letters(self) -> list[DeadLetter]:
        return self.dead

    def _features(self, user: User) -> dict[str, str]:
        assert user.live is not None
        values = {"as_of_ms": user.as_of_ms} | fields(user.live, self.actions, ZoneInfo(self.session.time_zone))
        values |= recent(list(user.window), user.accepted, self.session.recent)
        return {name: value if isinstance(value, str) else repr(value) for name, value in values.items()}
