"""Sends a file of clicks (user_id, tab, JSON) to topic `clicks`, as fast as it goes or at a steady rate.

Run: python -m benchmarks.peers.load FILE [CLICKS_PER_S]
"""

import sys
import time
from itertools import count

from confluent_kafka import Producer

from headrace.infra.settings import Settings, load
from headrace.schemas import topics

STEP_S = 0.002  # clicks due are sent this often, so that a steady rate comes in no bursts


def main(settings: Settings, path: str, clicks_per_s: float = float("inf")) -> None:
    options = {"bootstrap.servers": settings.kafka.bootstrap, "linger.ms": 5, "enable.idempotence": True}
    producer = Producer(options | {"queue.buffering.max.messages": 500_000, "partitioner": "murmur2_random"})
    start = time.monotonic()
    with open(path, "rb") as clicks:
        for sent, line in zip(count(), clicks, strict=False):
            while sent >= (time.monotonic() - start) * clicks_per_s:
                producer.poll(STEP_S)
            key, _, value = line.rstrip(b"\n").partition(b"\t")
            _send(producer, key, value)
    producer.flush()


def _send(producer: Producer, key: bytes, value: bytes) -> None:
    while True:
        try:
            producer.produce(topics.CLICKS, value, key)
            return
        except BufferError:
            producer.poll(STEP_S)


if __name__ == "__main__":
    main(load(), sys.argv[1], *map(float, sys.argv[2:]))
