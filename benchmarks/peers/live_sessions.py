"""The Redis commands that write a user's features: one JSON object a user by SET, pipelined, replies awaited."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import msgspec
import redis

from benchmarks.peers.features import ACTIONS, INDEX, User
from headrace.schemas import redis_keys

T = TypeVar("T")
PIPELINE = 1000  # values; more fill the socket's buffers both ways
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
INTERACTING = ("click", "like", "share", "rate", "dislike", "block", "cart", "uncart")
INTERACTIONS = [INDEX[action] for action in INTERACTING]
VIEWS = [INDEX["view"], INDEX["search"]]
encode = msgspec.json.encode


@lru_cache(65536)
def by_actions(counts: tuple[int, ...]) -> bytes:
    """The fields that follow from the counts of actions alone, without braces."""
    n = sum(counts)
    fields = {
        "events": n,
        "page_views": sum(counts[index] for index in VIEWS),
        "interactions": sum(counts[index] for index in INTERACTIONS),
        "conversions": counts[INDEX["purchase"]],
        "bounce": int(n == 1),
    }
    fields |= {f"count_{action}": count for action, count in zip(ACTIONS, counts, strict=True)}
    rates = {f"rate_{action}": count / n for action, count in zip(ACTIONS, counts, strict=True)}
    return bytes(encode(fields | rates)[1:-1])


def value(user: User) -> bytes:
    """The features as the job writes them; the time zone is UTC."""
    n, start, length_ms = user.events, user.start, user.end - user.start
    own = {
        "session_id": user.session_id, "started_ms": start, "ended_ms": user.end, "as_of_ms": user.as_of,
        "duration_h": length_ms / HOUR_MS, "distinct_items": len(user.items),
        "distinct_categories": len(user.categories), "spend": user.spend,
        "mean_dwell_s": length_ms / 1000 / (n - 1) if n > 1 else 0.0, "start_hour": start // HOUR_MS % 24,
        "start_weekday": (start // DAY_MS + 3) % 7,  # 1970-01-01 was a Thursday
        "recent_items": user.recent_items, "recent_actions": user.recent_actions, "recent_ts_ms": user.recent_ts,
        "recent_truncated": int(user.accepted > len(user.recent_ts)), "late": user.late, "repeats": user.repeats,
    }  # fmt: skip
    return b"%b,%b}" % (encode(own)[:-1], by_actions(tuple(user.counts)))


def command(user_id: str, user: User) -> bytes:
    key, features = redis_keys.session(user_id).encode(), value(user)
    expire_at_ms = user.as_of + redis_keys.SESSION_TTL_MS  # 13 digits until 2286
    named = b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(features), features)
    return b"%b$4\r\nPXAT\r\n$13\r\n%d\r\n" % (named, expire_at_ms)


class LiveSessions:
    """The values of a Redis, written a batch at a time."""

    def __init__(self, client: redis.Redis) -> None:
        self.connection = client.connection_pool.get_connection()

    def write(self, users: Iterable[tuple[str, User]]) -> None:
        for part in batched(users, PIPELINE):
            self.connection.send_packed_command([b"".join([command(user_id, user) for user_id, user in part])])
            for _ in part:
                self.connection.read_response()


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part
