"""Clicks per second from Kafka to the lists of covisitation in Redis, over 90 simulated days, against a loop of dicts.

100,000 items by Zipf's law. The loop runs in one process. It decodes the same records from memory and counts each pair
of a user's day, by day: what the job's first steps do. It weighs no total, makes no list, keeps nothing durable and
writes nowhere. Both must end with pairs of the same items. The days come one after another as fast as the job takes
them, each with a midnight: the slowest day beside the median day says what midnights cost. A list is written at most
once a second, so the figure of a single day is that inexact.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks import stack
from benchmarks.harness import Result, console, show_round
from headrace.edge.spool_line import Message
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys, topics

JOB = "covisitation"
ITEMS, DAYS, DAY_MS = 100_000, 90, 86_400_000
BASKET = 4  # items that a user views in a day
STEADY_FROM = 9  # the day from which on it counts
PROGRAMS = ("jobmanager", "taskmanager")
MARK = "~mark-{}-{}"  # items of a user who sees them last of all in a day
WAIT_S = 1_800


class Run(NamedTuple):
    clicks_per_s: int
    cpu_s_per_million: float
    slowest_day: float  # times the median day
    items: int  # with a list


def main(events: int, rounds: int) -> Result:
    settings = stack.up()
    figures: dict[str, list[Any]] = {"headrace": [], "loop": [], "CPU-s a million": [], "slowest day": []}
    for number in range(1, rounds + 1):
        clicks = list(stream(events, number))
        begin_s = time.perf_counter()
        expected = loop(clicks)
        figures["loop"].append(round(len(clicks) / (time.perf_counter() - begin_s)))
        run = measure(settings, clicks)
        if run.items != len(expected):
            raise RuntimeError(f"lists must be of {len(expected):,} items, got {run.items:,}")
        figures["headrace"].append(run.clicks_per_s)
        figures["CPU-s a million"].append(run.cpu_s_per_million)
        figures["slowest day"].append(run.slowest_day)
        show_round(number, rounds, figures, "")
    ours = {name: median(each) for name, each in figures.items() if name != "loop"}
    peers = {"loop": median(figures["loop"])}
    conditions = {"clicks": events, "items": ITEMS, "days": DAYS, "store": "heap", "slots": 1, "each round": figures}
    ratio = ours["headrace"] / peers["loop"]
    return Result(
        JOB, ours, peers, ratio, "a loop of dicts in one process that counts pairs alone", "clicks/s", conditions
    )


def stream(events: int, seed: int) -> Iterator[Message]:
    """The clicks in the order of their times; the last day ends now."""
    rng, shares = np.random.default_rng(seed), 1 / np.arange(1, ITEMS + 1)
    shares /= shares.sum()
    first_day, a_day = time.time_ns() // 1_000_000 // DAY_MS - DAYS, events // DAYS
    for day in range(DAYS):
        chosen = rng.choice(ITEMS, a_day, p=shares)
        for n in range(a_day):
            at_ms = (first_day + day) * DAY_MS + n * (DAY_MS - 2) // a_day
            yield _click(f"user-{day}-{n // BASKET}", f"item-{chosen[n]}", at_ms)
        for which in ("a", "b"):
            yield _click(f"mark-{day}", MARK.format(day, which), (first_day + day + 1) * DAY_MS - 1)


def _click(user: str, item: str, ts_ms: int) -> Message:
    click = {"event_id": f"{user}-{item}", "user_id": user, "item_id": item, "action": "view", "ts_ms": ts_ms}
    return Message(topics.CLICKS, user.encode(), msgspec.json.encode(click))


def loop(clicks: list[Message]) -> dict[str, Counter[tuple[str, int]]]:
    """item -> (other item, day) -> users who saw both in that day."""
    baskets: dict[tuple[str, int], list[str]] = defaultdict(list)
    together: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
    for record in clicks:
        click = msgspec.json.decode(record.value)
        item, day = click["item_id"], click["ts_ms"] // DAY_MS
        basket = baskets[click["user_id"], day]
        if item not in basket:
            for other in basket:
                together[item][other, day] += 1
                together[other][item, day] += 1
            basket.append(item)
    return together


def measure(settings: Settings, clicks: list[Message]) -> Run:
    """One slot, from day STEADY_FROM on; until all lists are there."""
    stack.empty(settings)
    stack.send(settings, clicks)
    client = stack.redis(settings)
    with stack.job(settings, "heap", 1, name=JOB), console.status(f"{JOB} at work"):
        flink = [process for name, process in stack.processes().items() if name in PROGRAMS]
        ends_s = []
        for day in range(DAYS):
            mark = redis_keys.also_viewed(MARK.format(day, "a"))
            stack.wait(lambda mark=mark: client.exists(mark) == 1, f"day {day}", WAIT_S)  # type: ignore[misc]
            ends_s.append(time.monotonic())
            if day == STEADY_FROM:
                begin_cpu_s = stack.cpu_s(flink)
        used_cpu_s, took_s = stack.cpu_s(flink) - begin_cpu_s, ends_s[-1] - ends_s[STEADY_FROM]
        time.sleep(2 * settings.covisitation.refresh_s)
        items = sum(1 for _ in client.scan_iter(redis_keys.also_viewed("*"), stack.SCAN))
    counted = len(clicks) * (DAYS - 1 - STEADY_FROM) / DAYS
    days_s = np.diff(ends_s[STEADY_FROM:])
    slowest = round(float(days_s.max() / max(np.median(days_s), 1e-3)), 1)
    return Run(round(counted / took_s), round(1e6 * used_cpu_s / counted, 1), slowest, items)
