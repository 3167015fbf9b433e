"""20,000 records, good ones mixed with every kind of bad one, each planted with the path that it must take."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.streams.clicks import DAY_MS, MINUTE_MS, Click, Record, Stream

ACTIONS = (
    *("view", "click", "like", "share", "purchase", "refund", "rate", "ignore", "dislike", "block", "search"),
    *("cart", "uncart"),
)
SHOPPERS = 400
WINDOW_MS = 20 * MINUTE_MS  # all good events fall within it, so each user has one span and every good event is applied
KINDS = {
    "good": 12_500,
    "odd": 1_200,
    "repeat": 1_500,
    "late": 300,
    "too late": 700,
    "future": 500,
    "bad": 3_000,
}  # late: two records each
MEGABYTE, MIB = 1_000_000, 1024 * 1024


class Planted(NamedTuple):
    path: str  # as Oracle.feed names it
    record: Record


class Shopper:
    """Makes one user's clicks, in the order of their times."""

    def __init__(self, user_id: str, rng: random.Random) -> None:
        self.user_id, self.rng, self.made, self.sessions = user_id, rng, 0, 0
        self.newest: list[Click] = []

    def click(self, ts_ms: int, **more: Any) -> Click:
        self.made += 1
        self.sessions += self.rng.random() < 0.05
        click = {
            "event_id": f"{self.user_id}-{self.made}", "user_id": self.user_id, "item_id": f"i{self.rng.randrange(50)}",
            "action": self.rng.choice(ACTIONS), "ts_ms": ts_ms, "price": round(self.rng.uniform(0, 99), 2),
            "session_id": f"s{self.sessions}", "quantity": self.rng.randrange(5),
        } | more  # fmt: skip
        self.newest = [*self.newest[-30:], click]
        return click


def plain(click: Click) -> Record:
    return Record(str(click["user_id"]).encode(), json.dumps(click).encode())


# Good records that a careless reader breaks on: click -> bytes.
ODD: list[Callable[[Click], bytes]] = [
    lambda c: json.dumps(c, indent=2).encode() + b"\r\n \t",
    lambda c: json.dumps(c | {"note": {"ts_ms": 1, "user_id": [None, {"action": "wink"}]}}).encode(),
    lambda c: json.dumps({"note": {"ts_ms": 99, "event_id": "x"}} | c).encode(),
    lambda c: json.dumps(c).replace('"ts_ms"', '"ts\\u005fms"').encode(),
    lambda c: json.dumps(c).replace('"action"', '"\\u0061ction"').encode(),
    lambda c: json.dumps(dict(reversed(c.items()))).encode(),
    lambda c: json.dumps(c | {"item_id": 'q"\\/\n\r\t\x00\x1f\x1e,|;:{}[]'}).encode(),
    lambda c: json.dumps(c | {"item_id": "\u2028\u0600\U0001f600\ufffd\uffff"}, ensure_ascii=False).encode(),
    lambda c: json.dumps(c | {"item_id": "\U0001f600" * 256, "action": "view"}).encode(),
    lambda c: json.dumps(c | {"impression_id": "\u00e9" * 128}).encode(),
    lambda c: json.dumps(c | {"price": 7, "rating": 10, "quantity": 1_000_000}).encode(),
    lambda c: json.dumps(c | {"price": 0.1 + 0.2, "action": "purchase"}).encode(),
    lambda c: json.dumps(c | {"price": 5e-324, "action": "refund"}).encode(),
    lambda c: json.dumps(c).replace('"price": ', '"rating": 1E+0, "price": 1').encode(),
    lambda c: json.dumps(c | {"quantity": 0}).replace('"quantity": 0', '"quantity": -0').encode(),
    lambda c: json.dumps(c | dict.fromkeys(("price", "quantity", "category", "query", "device"))).encode(),
    lambda c: json.dumps(c | {"category": "", "query": "", "device": "", "location": "", "impression_id": ""}).encode(),
    lambda c: json.dumps(c | {"session_id": "", "session_position": 0}).encode(),
    lambda c: json.dumps(c | {"quantity": 6.0, "session_position": -0.0, "ts_ms": float(c["ts_ms"])}).encode(),
    lambda c: json.dumps(c | {"quantity": 7}).replace('"quantity": 7', '"quantity": 1.0e+2').encode(),
    lambda c: b'{"item_id": 7, "ts_ms": 1.5, ' + json.dumps(c).encode()[1:],
    lambda c: json.dumps({"unknown": 10**30, "other": 1.5e300, "flag": True} | c).encode(),
    lambda c: json.dumps(c | {"query": '","ts_ms": 5, "user_id": "'}).encode(),
]

# Bad records and their reasons: good click -> bytes.
BAD: list[tuple[str, Callable[[Click], bytes | None]]] = [
    ("json", lambda c: None),
    ("json", lambda c: b""),
    ("json", lambda c: b" \n"),
    ("json", lambda c: json.dumps(c)[:-7].encode()),
    ("json", lambda c: json.dumps(c).encode() * 2),
    ("json", lambda c: b"\xef\xbb\xbf" + json.dumps(c).encode()),
    ("json", lambda c: json.dumps(c).encode("utf-16")),
    ("json", lambda c: json.dumps(c | {"item_id": "@"}).encode().replace(b"@", b"\xff\xfe")),
    ("json", lambda c: json.dumps(c | {"item_id": "@"}).encode().replace(b"@", b"\xc0\x80")),
    ("json", lambda c: json.dumps(c | {"item_id": "@"}).encode().replace(b"@", b"\xed\xa0\x80")),
    ("json", lambda c: json.dumps(c | {"item_id": "\ud83d"}).encode()),
    ("json", lambda c: json.dumps(c | {"item_id": "@"}).encode().replace(b"@", b"a\nb")),
    ("json", lambda c: json.dumps(c | {"price": float("nan")}).encode()),
    ("json", lambda c: json.dumps(c | {"rating": float("-inf")}).encode()),
    ("json", lambda c: json.dumps(c).replace('"', "'").encode()),
    ("json", lambda c: json.dumps(c)[:-1].encode() + b",}"),
    ("json", lambda c: json.dumps(c | {"quantity": 1}).replace('"quantity": 1', '"quantity": 01').encode()),
    ("json", lambda c: b"\x00\x01\x02\x03\x04\x05\x06"),
    ("json", lambda c: b"[" * 100_000),
    ("type", lambda c: b"[" + json.dumps(c).encode() + b"]"),
    ("type", lambda c: b"null"),
    ("type", lambda c: b"17"),
    ("type", lambda c: json.dumps(json.dumps(c)).encode()),
    *[("missing", lambda c, gone=name: json.dumps({k: v for k, v in c.items() if k != gone}).encode())
      for name in ("event_id", "user_id", "item_id", "action", "ts_ms")],
    *[("type", lambda c, field=field: json.dumps(c | dict([field])).encode())
      for field in (("event_id", None), ("event_id", 7), ("user_id", None), ("user_id", ["u"]), ("item_id", None),
                    ("item_id", 85123), ("action", None), ("action", 1), ("action", {}), ("ts_ms", None),
                    ("ts_ms", 1.5), ("ts_ms", 1e12 + 0.5), ("ts_ms", "1763900000000"), ("ts_ms", True),
                    ("price", "9.99"), ("price", True), ("price", []), ("quantity", 6.5), ("quantity", "6.0"),
                    ("quantity", False), ("rating", "5"), ("session_id", 5), ("query", {"text": "red"}),
                    ("category", 3.5))],
    *[("value", lambda c, field=field: json.dumps(c | dict([field])).encode())
      for field in (("event_id", ""), ("event_id", "e" * 129), ("user_id", ""), ("user_id", "u" * 257),
                    ("item_id", ""), ("item_id", "\U0001f600" * 257), ("action", "wink"), ("action", "VIEW"),
                    ("action", ""), ("ts_ms", -1), ("ts_ms", 0), ("ts_ms", 1763900000), ("ts_ms", 99_999_999_999),
                    ("ts_ms", 1763900000.0), ("ts_ms", 1763900000000000), ("ts_ms", 253402300800000),
                    ("ts_ms", 2**63), ("ts_ms", 10**40),
                    ("price", -0.01), ("price", 1e9 + 1), ("quantity", -1), ("quantity", 1_000_001),
                    ("quantity", 1e300), ("rating", 10.5), ("session_id", "s" * 129), ("device", "d" * 65),
                    ("session_position", -1), ("query", "q" * 1025))],
    ("json", lambda c: json.dumps(c | {"price": 1}).replace('"price": 1', '"price": 1e400').encode()),
    ("future", lambda c: json.dumps(c | {"ts_ms": 253402300799999}).encode()),  # year 9999
]  # fmt: skip

HUGE: list[tuple[str, Callable[[Click], bytes]]] = [
    ("applied", lambda c: json.dumps(c | {"note": "x" * MEGABYTE}).encode()),
    ("applied", lambda c: json.dumps(c).encode().ljust(MIB)),
    ("dead size", lambda c: json.dumps(c).encode().ljust(MIB + 1)),
    ("dead size", lambda c: b"\x00" * (MIB + MEGABYTE // 2)),
    ("dead value", lambda c: json.dumps(c | {"query": "x" * MEGABYTE}).encode()),
    ("dead value", lambda c: json.dumps(c | {"user_id": "x" * MEGABYTE}).encode()),
    ("dead value", lambda c: json.dumps(c | {"action": "x" * MEGABYTE}).encode()),
    ("dead type", lambda c: json.dumps(c | {"price": "9" * MEGABYTE}).encode()),
    ("dead json", lambda c: b'{"event_id": "' + b"x" * MEGABYTE),
    ("dead json", lambda c: b"\xff" * MEGABYTE),
]


def planted(now_ms: int, seed: int = 1) -> list[Planted]:
    """Returns the records in the order of sending; good times run from 20 minutes before now_ms to now_ms."""
    rng = random.Random(seed)
    shoppers = [Shopper(name, rng) for name in names()]
    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    rng.shuffle(kinds)
    makers = {"late": late_pair, "odd": odd, "bad": bad, "repeat": repeat, "too late": too_late, "future": future}
    mixed: list[Planted] = []
    for n, kind in enumerate(kinds):
        shopper, ts_ms = rng.choice(shoppers), now_ms - WINDOW_MS + n * WINDOW_MS // len(kinds)
        maker = makers.get(kind, good) if shopper.newest or kind == "late" else good
        mixed.extend(maker(shopper, ts_ms, n))
    return mixed


def names() -> Iterator[str]:
    yield from (f"shopper-{n}" for n in range(SHOPPERS - 6))
    yield from ("\u0645\u0631\u064a\u0645", "\U0001f9d1\u200d\U0001f680", "q\"u\\o'te")
    yield from ("tab\tnew\nline", "nul\x00", "a b:c{d}")


def soiled(stream: Stream, every: int = 50) -> Iterator[Record]:
    """Returns the stream's records, with a bad one after each so many of them."""
    for n, (_, click) in enumerate(stream):
        record = plain(click)
        yield record
        if n % every == 0:
            yield Record(record.key, BAD[n // every % len(BAD)][1](click))


def good(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    return [Planted("applied", plain(shopper.click(ts_ms)))]


def odd(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    click = shopper.click(ts_ms)
    return [Planted("applied", Record(shopper.user_id.encode(), ODD[n % len(ODD)](click)))]


def bad(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    """Returns a bad record with the event_id of an earlier good one: it must leave no trace. A few are huge."""
    click, key = shopper.newest[-1], shopper.user_id.encode()
    if n % 150 == 0:
        path, make = HUGE[n // 150 % len(HUGE)]
        return [Planted(path, Record(key, make(shopper.click(ts_ms) if path == "applied" else click)))]
    reason, broken = BAD[n % len(BAD)]
    return [Planted(f"dead {reason}", Record(key, broken(click)))]


def repeat(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    again = shopper.rng.choice(shopper.newest)
    return [Planted("repeat", plain(again | {"ts_ms": ts_ms, "item_id": "changed"}))]


def too_late(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    return [Planted("dead late", plain(made_up(shopper, n, ts_ms - shopper.rng.randrange(3, 48) * 60 * MINUTE_MS)))]


def future(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    return [Planted("dead future", plain(made_up(shopper, n, ts_ms + shopper.rng.randrange(1, 900) * DAY_MS)))]


def made_up(shopper: Shopper, n: int, ts_ms: int) -> Click:
    return shopper.newest[-1] | {"event_id": f"made-up-{n}", "ts_ms": ts_ms}


def late_pair(shopper: Shopper, ts_ms: int, n: int) -> list[Planted]:
    """Returns a user's event and one from before its session, by the gap or, where the client bounds it, by its id."""
    click = {
        "event_id": f"late-{n}-0", "user_id": f"late-{n}", "item_id": "i", "action": "view", "ts_ms": ts_ms,
        "session_id": "s2",
    }  # fmt: skip
    back_ms = shopper.rng.randrange(31, 40) * MINUTE_MS if n % 2 else 1
    before = click | {"event_id": f"late-{n}-1", "ts_ms": ts_ms - back_ms, "session_id": None if n % 2 else "s1"}
    return [Planted("applied", plain(click)), Planted("late", plain(before))]
