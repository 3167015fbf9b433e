"""Click to changed list: from the producer's send call to a reader seeing the shopper's new list, under a steady load.

A version is trained on the first clicks of the data set, and the load is the same clicks: nearly all of its shoppers
get a new list with every click.
"""

import random
import time
from collections.abc import Iterator
from itertools import count

import msgspec
from kafka import KafkaProducer

from benchmarks import clicks, freshness, stack
from benchmarks.harness import Result, console
from headrace.infra.settings import Settings
from headrace.infra.versions.store import VersionFollower
from headrace.schemas import redis_keys, topics

JOB = "collaborative"
TRAINED_ON = 300_000  # clicks
FACTORS = 64
HOW = ("--factors", str(FACTORS), "--iterations", "10", "--unobserved", "1")
LOAD_CLICKS_PER_S = 1_000.0
PROBES = 300
LOAD_S = 2 * freshness.WARM_UP_S + PROBES * 0.2
USER = "~probe"
TARGET_P99_MS = 150.0


def main(rate: float) -> Result:
    """rate: clicks/s in the background; 0: the default."""
    settings = stack.up()
    stack.headrace("train", clicks.source().name, str(clicks.DATA), "--limit", f"{TRAINED_ON}", *HOW)
    rates = [rate or LOAD_CLICKS_PER_S, freshness.LOW_CLICKS_PER_S]
    delays_ms = {f"{each:,.0f} clicks/s": measure(settings, each) for each in rates}
    figures = freshness.show("click to changed list in Redis, ms", delays_ms)
    conditions = {"store": "heap", "slots": 1, "data": clicks.source().title, "factors": FACTORS}
    conditions |= {"items": len(items()), "list": settings.collaborative.top_n}
    conditions["bundle_time_ms"] = settings.flink.bundle_time_ms
    ratio = TARGET_P99_MS / next(iter(figures.values()))["p99"]
    against = f"the target at the first rate, p99 of {TARGET_P99_MS:.0f} ms"
    return Result("lists", figures, {}, round(ratio, 3), against, "ms", conditions)


def items() -> list[str]:
    model = VersionFollower().model()
    if model is None:
        raise RuntimeError("a version must be published")
    return model.contents.items


def measure(settings: Settings, clicks_per_s: float) -> list[float]:
    stack.empty(settings)
    load = clicks.sending(round(clicks_per_s * LOAD_S), clicks_per_s)
    with (
        stack.job(settings, "heap", 1, name=JOB),
        load,
        console.status(f"{PROBES} probes at {clicks_per_s:,.0f} clicks/s"),
    ):
        probes = delays_ms(settings)
        next(probes)
        time.sleep(freshness.WARM_UP_S)
        return [next(probes) for _ in range(PROBES)]


def delays_ms(settings: Settings) -> Iterator[float]:
    """Each from a click of its own, at random moments."""
    producer, known, run = KafkaProducer(linger_ms=0, **settings.kafka.client()), items(), time.time_ns()
    current = VersionFollower().model()
    assert current
    client, key = stack.redis(settings), redis_keys.live(current.manifest.version, USER)
    for number in count():
        time.sleep(random.uniform(0, freshness.PAUSE_MAX_S))
        before, now_ms = client.get(key), time.time_ns() // 1_000_000
        click = {
            "event_id": f"probe-{run}-{number}",
            "user_id": USER,
            "item_id": random.choice(known),
            "action": "view",
        }
        value = msgspec.json.encode(click | {"ts_ms": now_ms})
        began_s = time.monotonic()
        producer.send(topics.CLICKS, value, USER.encode())
        while client.get(key) == before:  # a list says as of when it is: no two are equal
            if time.monotonic() - began_s > freshness.TIMEOUT_S:
                raise RuntimeError(f"probe {number} not visible within {freshness.TIMEOUT_S} s")
            time.sleep(freshness.POLL_S)
        yield 1000 * (time.monotonic() - began_s)
