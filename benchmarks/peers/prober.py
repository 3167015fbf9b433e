"""Sends clicks of its own at fixed times and looks when the key that each one causes is in Redis.

Each click has a user of its own, so any number of them can be on their way at once, and a stall is counted by all that
should have been sent in it. Prints one JSON line per click: [intended, sent, seen], in ms since 1970; seen is null if
the key did not come.

Run: python -m benchmarks.peers.prober CLICKS EVERY_S KEY ITEM..., where {user} in KEY is the user
"""

import json
import os
import sys
import time
from collections import deque
from contextlib import suppress

from confluent_kafka import Producer
from redis import Redis

from headrace.infra.settings import load
from headrace.schemas import topics

POLL_S = 0.001
LOOK_AT = 200  # the oldest clicks on their way
GIVE_UP_S = 60
URGENT = -10  # what a prober is late by would count as latency


class Prober:
    def __init__(self, producer: Producer, redis: Redis, key: str, items: list[str]) -> None:
        self.producer, self.redis, self.key, self.items = producer, redis, key, items
        self.run = time.time_ns()
        self.on_their_way: deque[tuple[str, float, float]] = deque()  # key, intended, sent

    def send(self, number: int, intended_s: float) -> None:
        user, now_s = f"~probe-{self.run}-{number}", time.time()
        click = {"event_id": user, "user_id": user, "item_id": self.items[number % len(self.items)], "action": "view"}
        self.producer.produce(topics.CLICKS, json.dumps(click | {"ts_ms": int(now_s * 1000)}).encode(), user.encode())
        self.on_their_way.append((self.key.format(user=user), intended_s, now_s))

    def look(self) -> None:
        """Prints the clicks that are seen now."""
        asked = [self.on_their_way.popleft() for _ in range(min(LOOK_AT, len(self.on_their_way)))]
        pipeline = self.redis.pipeline(transaction=False)
        for key, _, _ in asked:
            pipeline.exists(key)
        replies, now_s = pipeline.execute(), time.time()
        for click, there in zip(asked, replies, strict=True):
            if there:
                self.show(click, now_s)
        missing = [click for click, there in zip(asked, replies, strict=True) if not there]
        self.on_their_way.extendleft(reversed(missing))

    def show(self, click: tuple[str, float, float], seen_s: float | None) -> None:
        print(json.dumps([1000 * each if each else None for each in (*click[1:], seen_s)]))


def main(clicks: int, every_s: float, key: str, items: list[str]) -> None:
    with suppress(PermissionError):
        os.nice(URGENT)
    settings = load()
    options = {"bootstrap.servers": settings.kafka.bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"}
    prober = Prober(Producer(options), settings.redis.client(), key, items)
    start_s, sent = time.time(), 0
    while sent < clicks or (prober.on_their_way and time.time() < start_s + clicks * every_s + GIVE_UP_S):
        while sent < clicks and time.time() >= start_s + sent * every_s:
            prober.send(sent, start_s + sent * every_s)
            sent += 1
        prober.producer.poll(0)
        if prober.on_their_way:
            prober.look()
        time.sleep(POLL_S)
    for click in prober.on_their_way:
        prober.show(click, None)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
