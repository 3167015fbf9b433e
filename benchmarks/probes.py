"""Our own clicks among the others, each timed from the producer's send until a reader of Redis sees it."""

import time

import msgspec
from kafka import KafkaProducer
from redis import RedisError

from benchmarks import stack
from headrace.infra.settings import Settings
from headrace.schemas import live_session, redis_keys, topics

USER = "~probe"
KEY = redis_keys.session(USER)


class Probes:
    """One user's clicks, numbered by their item_id; the newest number visible is the first of recent_items."""

    def __init__(self, settings: Settings) -> None:
        self.producer = KafkaProducer(linger_ms=0, **settings.kafka.client())
        self.client = stack.redis(settings)
        self.sent_s: list[float] = []
        self.run = time.time_ns()

    def send(self) -> int:
        number, now_ms = len(self.sent_s), time.time_ns() // 1_000_000
        click = {"event_id": f"probe-{self.run}-{number}", "user_id": USER, "item_id": str(number), "action": "view"}
        value = msgspec.json.encode(click | {"ts_ms": now_ms})
        self.sent_s.append(time.monotonic())
        self.producer.send(topics.CLICKS, value, USER.encode())
        return number

    def visible(self) -> int:
        """Number of the newest probe in Redis, -1 if none."""
        try:
            session = live_session.decode(self.client.get(KEY))
        except RedisError:
            return -1
        return int(session["recent_items"][0]) if session else -1

    def delay_s(self, poll_s: float, timeout_s: float) -> float:
        """Send one and wait until it is visible."""
        number = self.send()
        while self.visible() < number:
            if time.monotonic() - self.sent_s[number] > timeout_s:
                raise RuntimeError(f"probe {number} not visible within {timeout_s:.0f} s")
            time.sleep(poll_s)
        return time.monotonic() - self.sent_s[number]

    def lag_s(self) -> float:
        """Age of the oldest probe that is not visible yet."""
        oldest = self.visible() + 1
        return time.monotonic() - self.sent_s[oldest] if oldest < len(self.sent_s) else 0.0
