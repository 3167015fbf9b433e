"""Streams of clicks made from real events: in order, shuffled, re-sent, skewed, in long sessions, and all at once.

A stream is a list of (moment_ms, click) sorted by moment, the time at which the click is sent; sorting streams together
merges them. Every stream has users and event ids of its own, so several can share one topic and one run of the job.
"""

import csv
import json
import lzma
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka.partitioner.default import murmur2

Click = dict[str, Any]
Stream = list[tuple[int, Click]]
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
SHUFFLED_WITHIN_MS = 5 * MINUTE_MS
RESENT_WITHIN = 40  # events of the same user; below the 50 among which a repeat is recognised


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None


def data_file(name: str) -> Path:
    path = Path(os.environ.get("HEADRACE_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"{path} is not there: set HEADRACE_DATA to the folder of the data sets")
    return path


def online_retail(month: str, limit: int) -> list[Click]:
    """Returns the first events of a month such as 2011-11, in time order: one purchase or refund per invoice line."""
    with lzma.open(data_file("online_retail.csv.xz"), "rt", encoding="utf-8", newline="") as file:
        rows = (row for row in csv.DictReader(file) if row["InvoiceDate"].startswith(month))
        return list(islice((retail_click(n, row) for n, row in enumerate(rows) if float(row["UnitPrice"]) >= 0), limit))


def retail_click(line: int, row: dict[str, str]) -> Click:
    invoice = row["InvoiceNo"]
    moment = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=UTC)
    return {
        "event_id": f"{invoice}-{line}", "user_id": row["CustomerID"].removesuffix(".0") or f"anonymous-{invoice}",
        "item_id": row["StockCode"], "action": "refund" if invoice.startswith("C") else "purchase",
        "ts_ms": int(moment.timestamp() * 1000), "price": float(row["UnitPrice"]),
        "quantity": abs(int(row["Quantity"])), "location": row["Country"],
    }  # fmt: skip


def yoochoose(first_ms: int, last_ms: int, limit: int) -> list[Click]:
    """Returns the first views, in order, spread evenly over the time given: the file has no clock times."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(data_file("yoochoose_17days.parquet")).head(limit)
    step_ms = (last_ms - first_ms) / len(frame)
    return [
        {"event_id": f"y{n}", "user_id": f"{sess}", "item_id": f"{item}", "action": "view",
         "ts_ms": first_ms + round(n * step_ms), "session_id": f"s{sess}"}
        for n, (sess, item) in enumerate(zip(frame["sess"], frame["item"], strict=True))
    ]  # fmt: skip


def named(name: str, clicks: Iterable[Click], **fixed: Any) -> list[Click]:
    """Returns the clicks as those of users whose names begin with the stream's; `fixed` fields overwrite."""
    return [
        click | {"event_id": f"{name}/{click['event_id']}", "user_id": f"{name}/{click['user_id']}"} | fixed
        for click in clicks
    ]


def in_order(clicks: Iterable[Click]) -> Stream:
    return [(click["ts_ms"], click) for click in clicks]


def shuffled(clicks: Iterable[Click], seed: int) -> Stream:
    rng = random.Random(seed)
    return by_moment((click["ts_ms"] + rng.randrange(SHUFFLED_WITHIN_MS), click) for click in clicks)


def resent(clicks: Iterable[Click], seed: int, share: float = 0.1) -> Stream:
    """Returns a share of the events twice, the second time after up to 40 later ones of their user."""
    rng = random.Random(seed)
    return by_moment(sent for theirs in by_user(clicks) for sent in resent_to(theirs, rng, share))


def resent_to(theirs: list[Click], rng: random.Random, share: float) -> Stream:
    again = defaultdict[int, list[Click]](list)
    for n, click in enumerate(theirs):
        if rng.random() < share:
            again[min(n + rng.randrange(RESENT_WITHIN), len(theirs) - 1)].append(click)
    return [(click["ts_ms"], sent) for n, click in enumerate(theirs) for sent in (click, *again[n])]


def by_user(clicks: Iterable[Click]) -> Iterable[list[Click]]:
    of_user = defaultdict[str, list[Click]](list)
    for click in clicks:
        of_user[click["user_id"]].append(click)
    return of_user.values()


def behind(clicks: Iterable[Click], seed: int) -> Stream:
    """Makes each invoice a user, whose last event comes from before the session: late, but not too late."""
    rng = random.Random(seed)
    invoices = by_user(click | {"user_id": click["event_id"].split("-")[0]} for click in clicks)
    return by_moment(sent for lines in invoices for sent in [*in_order(lines), earlier(lines, rng)])


def earlier(lines: list[Click], rng: random.Random) -> tuple[int, Click]:
    ts_ms = lines[-1]["ts_ms"] - rng.randrange(31 * MINUTE_MS, 40 * MINUTE_MS)
    return lines[-1]["ts_ms"], lines[-1] | {"event_id": f"{lines[-1]['event_id']}-before", "ts_ms": ts_ms}


def enriched(clicks: Iterable[Click], actions: list[str], seed: int) -> list[Click]:
    """Returns real users, items and times with made-up actions, categories, sessions and searches."""
    rng = random.Random(seed)
    return [click | invented(click, rng.choice(actions), rng) for click in clicks]


def invented(click: Click, action: str, rng: random.Random) -> Click:
    return {
        "action": action, "category": rng.choice([None, "", "shoes", "Möbel", "\U0001f600"]),
        "session_id": rng.choice([None, f"{click['ts_ms'] // (20 * MINUTE_MS)}"]),
        "query": "red \"shoes\"" if action == "search" else None, "device": rng.choice(["phone", "desktop", None]),
        "rating": rng.randrange(11) / 2 if action == "rate" else None, "quantity": rng.choice([None, 0, 1, 7]),
        "price": rng.choice([None, 0, 3, 0.1, 19.99, 1e-7, 123456789.125]),
    }  # fmt: skip


def sharing(clicks: Iterable[Click], users: int, seed: int) -> list[Click]:
    """Gives the sessions to fewer users, whose sessions then overlap and alternate."""
    rng = random.Random(seed)
    owner = defaultdict[str, str](lambda: f"shared-{rng.randrange(users)}")
    return [click | {"user_id": owner[click["user_id"]]} for click in clicks]


def combined(actions: list[str], seed: int = 1) -> Stream:
    """108,000 events of November 2011: every stream of this module at once. User heavy/u makes 30 % of them, and that
    user's and long/u's last sessions, the live ones, hold thousands."""
    retail = online_retail("2011-11", 32_552)
    views = yoochoose(retail[0]["ts_ms"], retail[-1]["ts_ms"], 14_000)
    some, mixed = retail[:16_000], enriched(retail[15_000:20_000], actions, seed)
    long = enriched(retail[20_000:25_000], actions, seed + 1)
    return by_moment(
        in_order(named("heavy", retail, user_id="heavy/u"))
        + in_order(named("in-order", some))
        + shuffled(named("shuffled", some), seed + 2)
        + resent(named("resent", some), seed + 3)
        + shuffled(named("mixed", mixed), seed + 4)
        + shuffled(named("long", long, user_id="long/u", session_id=None), seed + 5)
        + behind(named("behind", retail[:2_000]), seed + 6)
        + in_order(named("views", views[:6_000]))
        + shuffled(named("alternating", sharing(views[6_000:], 40, seed + 7)), seed + 8)
    )


def by_moment(stream: Iterable[tuple[int, Click]]) -> Stream:
    return sorted(stream, key=lambda sent: sent[0])


def records(stream: Iterable[tuple[int, Click]]) -> Iterator[Record]:
    for _, click in stream:
        yield Record(click["user_id"].encode(), json.dumps(click, ensure_ascii=False).encode())


def sweepers(t_ms: int, partitions: int) -> list[Record]:
    """Returns an event at t_ms per partition, by users of its own: the watermark moves, all other spans close."""
    found: dict[int, str] = {}
    for n in range(100 * partitions):
        found.setdefault(partition_of(f"sweeper-{n}", partitions), f"sweeper-{n}")
    clicks = [
        {"event_id": f"sweep-{t_ms}", "user_id": user, "item_id": "none", "action": "ignore", "ts_ms": t_ms}
        for user in found.values()
    ]
    return list(records((t_ms, click) for click in clicks))


def partition_of(key: str, partitions: int) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions
