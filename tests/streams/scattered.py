"""Shoppers whose events a producer put on several partitions: by other keys, or without any (docs/semantics.md)."""

import json

from tests.streams.clicks import MINUTE_MS, Record

EVENTS, REPEATED = 20, 7
KEYS = {"by-other-keys": "k{}", "by-item": "i{}", "without-a-key": ""}  # user -> key of event n
# What does not depend on the order in which the partitions are read. In `spend` it does not because the prices are
# multiples of a power of two, so that their sums are exact.
ORDERLESS = {"events": "20", "repeats": "1", "late": "0", "distinct_items": "20", "spend": "41.0"}


def scattered(first_ms: int) -> list[Record]:
    """Returns 20 events of each shopper, a minute apart, and one of them once more by another partition."""
    return [record for user, key in KEYS.items() for record in events(user, key, first_ms)]


def events(user: str, key: str, first_ms: int) -> list[Record]:
    clicks = [
        {
            "event_id": f"e{n}", "user_id": f"scattered/{user}", "item_id": f"i{n}", "ts_ms": first_ms + n * MINUTE_MS,
            "action": ("view", "cart", "purchase", "refund")[n % 4] if n < 12 else "purchase",
            "price": n / 4, "quantity": 1 + n % 2,
        }
        for n in range(EVENTS)
    ]  # fmt: skip
    sent = [(f"{key.format(n)}".encode() or None, click) for n, click in enumerate(clicks)]
    sent.append((b"another" if key else None, clicks[REPEATED]))
    return [Record(own, json.dumps(click).encode()) for own, click in sent]
