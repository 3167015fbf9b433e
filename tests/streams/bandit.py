"""Slates shown to shoppers and what they do with them: every action, retractions, repeats, strays and bad records.

A stream is a list of records for both topics in the order of sending. Feedback may be sent before its impression; the
times in the records then still say which came first.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from headrace.schemas.topics import CLICKS, IMPRESSIONS
from tests.streams.clicks import MINUTE_MS, Record
from tests.streams.dirty import ACTIONS
from tests.streams.dirty import BAD as BAD_CLICKS

Fields = dict[str, Any]
SHOPPERS, ITEMS, SLATE = 150, 30, 4
POLICIES = ("linucb", "thompson", "epsilon \u00e9")
ELAPSED_MS = (-1, 0, 10_000, 10_001, 300_000, 300_001)  # the ends of what is fast and of what counts
AHEAD_MS = MINUTE_MS  # of the broker's clock, and allowed
# Feedback in which what comes later takes back what stood, in whatever order it arrives.
STORIES = (
    (), (), (), ("click",), ("view", "click"), ("click", "purchase"), ("like", "dislike"), ("purchase", "block"),
    ("purchase", "refund"), ("share", "purchase", "refund"), ("dislike", "block"), ("refund",), ("ignore",),
    ("click", "cart"), ("cart", "uncart"), ("cart", "purchase", "uncart"), ("cart", "purchase", "refund"), ("uncart",),
)  # fmt: skip


class Sent(NamedTuple):
    moment_ms: float
    topic: str
    record: Record


class Shopper:
    """Makes the records of slates, with a bad one here and there."""

    def __init__(self, seed: int, encoder_version: str, d: int) -> None:
        self.rng, self.version, self.d, self.made = random.Random(seed), encoder_version, d, 0

    def slates(self, count: int, first_ms: int) -> list[Sent]:
        found = [sent for n in range(count) for sent in self._slate(n, first_ms + 500 * n)]
        return sorted(found, key=lambda sent: sent.moment_ms)

    def _slate(self, n: int, ts_ms: int) -> Iterator[Sent]:
        for place, item in enumerate(self.rng.sample(range(ITEMS), SLATE)):
            shown = self.impression(f"slate-{n}", f"u{n % SHOPPERS}", f"i{item}", ts_ms)
            shown["position"] = float(place) if n % 7 == 0 else place
            yield sent(ts_ms, IMPRESSIONS, shown)
            yield from self._feedback(shown)
            if self.rng.random() < 0.1:  # another record of the same impression: the first one counts
                again = shown | {"context": self.context(), "propensity": 1, "policy": self.rng.choice(POLICIES)}
                yield sent(ts_ms + self.rng.randrange(60_000), IMPRESSIONS, again)
            if self.rng.random() < 0.05:
                bad = self.rng.choice(BAD)[1](shown | {"impression_id": f"bad-{n}"}, self)
                yield Sent(ts_ms, IMPRESSIONS, Record(shown["user_id"].encode(), bad))

    def _feedback(self, shown: Fields) -> Iterator[Sent]:
        rng = self.rng
        for action in (*rng.choice(STORIES), *rng.choices(ACTIONS, k=rng.randrange(2))):
            elapsed_ms = rng.choice((*ELAPSED_MS, *(rng.randrange(300_001) for _ in ELAPSED_MS)))
            click = self.click(shown, action, shown["ts_ms"] + elapsed_ms)
            moment_ms = click["ts_ms"] + rng.choice((0, 0, -310_000, 60_000))
            yield sent(moment_ms, CLICKS, click)
            if rng.random() < 0.1:
                yield sent(moment_ms + rng.randrange(60_000), CLICKS, click)
            if rng.random() < 0.1:
                yield sent(moment_ms, CLICKS, click | rng.choice(STRAYS))
            if rng.random() < 0.05:
                yield Sent(moment_ms, CLICKS, Record(b"k", rng.choice(BAD_CLICKS)[1](click)))

    def impression(self, slate: str, user: str, item: str, ts_ms: int) -> Fields:
        return {
            "impression_id": slate, "user_id": user, "surface": "home", "item_id": item, "position": 0,
            "policy": self.rng.choice(POLICIES), "model_version": "v1", "context": self.context(),
            "propensity": self.rng.choice((1, 0.1, 1 / 3)), "ts_ms": ts_ms,
            "encoder_version": self.rng.choice((self.version, self.version, None)),
        }  # fmt: skip

    def context(self) -> list[float]:
        """Returns the bias, and values to be rounded, cut off or left as they are."""
        rng = self.rng
        odd = (0, -0.0, 1, -1.5 / 4096, 0.5 / 4096, 9.5, -12.0, 8.0, 1e-300, rng.randrange(-9, 9) + 0.5 / 4096)
        return [1.0] + [rng.choice(odd) if rng.random() < 0.2 else rng.uniform(-1, 1) for _ in range(self.d - 1)]

    def click(self, shown: Fields, action: str, ts_ms: int) -> Fields:
        self.made += 1
        return {
            "event_id": f"e{self.made}", "user_id": shown["user_id"], "item_id": shown["item_id"], "action": action,
            "ts_ms": ts_ms, "impression_id": shown["impression_id"],
            "session_position": self.rng.choice((None, 0, 1, 7)),
        }  # fmt: skip


STRAYS: tuple[Fields, ...] = (
    {"impression_id": "never shown"}, {"impression_id": None}, {"impression_id": ""}, {"item_id": "another"},
    {"user_id": "somebody else"},
)  # fmt: skip
# Reason, and what makes it: (impression, shopper) -> bytes.
BAD: list[tuple[str, Callable[[Fields, Shopper], bytes | None]]] = [
    ("json", lambda c, s: json.dumps(c | {"context": [float("nan")] * s.d}).encode()),
    ("json", lambda c, s: json.dumps(c | {"context": [float("-inf")] * s.d}).encode()),
    ("json", lambda c, s: json.dumps(c | {"propensity": 9}).replace('"propensity": 9', '"propensity": 1e400').encode()),
    ("json", lambda c, s: json.dumps(c)[:-3].encode()),
    ("json", lambda c, s: None),
    ("type", lambda c, s: json.dumps(c | {"context": [None] * s.d}).encode()),
    ("type", lambda c, s: json.dumps(c | {"context": "1.0"}).encode()),
    ("missing", lambda c, s: json.dumps({k: v for k, v in c.items() if k != "context"}).encode()),
    ("missing", lambda c, s: json.dumps({k: v for k, v in c.items() if k != "propensity"}).encode()),
    ("value", lambda c, s: json.dumps(c | {"context": [0.5] * 257}).encode()),
    ("value", lambda c, s: json.dumps(c | {"propensity": 0}).encode()),
    ("value", lambda c, s: json.dumps(c | {"propensity": 1.5}).encode()),
    ("value", lambda c, s: json.dumps(c | {"ts_ms": 99_999_999_999}).encode()),
    ("type", lambda c, s: json.dumps(c | {"position": 0.5}).encode()),
    ("future", lambda c, s: json.dumps(c | {"ts_ms": 253402300799999}).encode()),
    ("encoder", lambda c, s: json.dumps(c | {"encoder_version": "another"}).encode()),
    ("encoder", lambda c, s: json.dumps(c | {"context": [0.5] * (s.d + 1)}).encode()),
    ("encoder", lambda c, s: json.dumps(c | {"context": [0.5] * (s.d - 1)}).encode()),
    ("encoder", lambda c, s: json.dumps(c | {"context": []}).encode()),
    ("size", lambda c, s: json.dumps(c).encode().ljust(1024 * 1024 + 1)),
]


def sent(moment_ms: float, topic: str, fields: Fields) -> Sent:
    return Sent(moment_ms, topic, Record(fields["user_id"].encode(), json.dumps(fields, ensure_ascii=False).encode()))


def ahead(shopper: Shopper, now_ms: int) -> list[Sent]:
    """Clocks that are ahead of the broker's, so its clock counts. The click is sent before its impression."""
    shown = shopper.impression("ahead", "u-ahead", "i0", now_ms + AHEAD_MS)
    early = shopper.click(shown, "purchase", now_ms + AHEAD_MS)
    return [sent(now_ms, CLICKS, early), sent(now_ms, IMPRESSIONS, shown), sent(now_ms, CLICKS, early)]
