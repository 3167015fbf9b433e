"""The Redis commands that write a user's features: RESP text from one template, pipelined, replies awaited."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import msgspec
import redis

from benchmarks.peers.features import ACTIONS, INDEX, User
from headrace.schemas import redis_keys

T = TypeVar("T")
PIPELINE = 1000  # hashes; more fill the socket's buffers both ways
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BY_ACTIONS = ["events", "page_views", "interactions", "conversions", "bounce"]
BY_ACTIONS += [f"{kind}_{action}" for kind in ("count", "rate") for action in ACTIONS]
OWN = [
    *("session_id", "started_ms", "ended_ms", "as_of_ms", "duration_h", "distinct_items", "distinct_categories"),
    *("spend", "mean_dwell_s", "start_hour", "start_weekday", "recent_items", "recent_actions", "recent_ts_ms"),
    *("recent_truncated", "late", "repeats"),
]
INTERACTING = ("click", "like", "share", "rate", "dislike", "block", "cart", "uncart")
INTERACTIONS = [INDEX[action] for action in INTERACTING]


def bulk(text: str) -> str:
    return f"${len(text) if text.isascii() else len(text.encode())}\r\n{text}\r\n"


HSET = f"*{2 * len(OWN + BY_ACTIONS) + 2}\r\n{bulk('HSET')}%s{''.join(bulk(name) + '%s' for name in OWN)}%s"
PEXPIREAT = f"*3\r\n{bulk('PEXPIREAT')}%s%s"
small = lru_cache(1024)(lambda number: bulk(str(number)))


@lru_cache(65536)
def by_actions(counts: tuple[int, ...]) -> str:
    """The fields that follow from the counts of actions alone."""
    n, views = sum(counts), counts[INDEX["view"]] + counts[INDEX["search"]]
    values = [n, views, sum(counts[index] for index in INTERACTIONS), counts[INDEX["purchase"]], int(n == 1)]
    texts = [*map(str, values), *map(str, counts), *(repr(count / n) for count in counts)]
    return "".join(bulk(name) + bulk(text) for name, text in zip(BY_ACTIONS, texts, strict=True))


def array(values: list[str] | list[int]) -> str:
    return bulk(msgspec.json.encode(values).decode())


def commands(user_id: str, user: User) -> str:
    """HSET of all features and PEXPIREAT; the time zone is UTC."""
    key, n, start, length_ms = bulk(redis_keys.session(user_id)), user.events, user.start, user.end - user.start
    texts = (
        bulk(user.session_id), bulk(str(start)), bulk(str(user.end)), bulk(str(user.as_of)),
        bulk(repr(length_ms / HOUR_MS)), small(len(user.items)), small(len(user.categories)), bulk(repr(user.spend)),
        bulk(repr(length_ms / 1000 / (n - 1) if n > 1 else 0.0)),
        small(start // HOUR_MS % 24), small((start // DAY_MS + 3) % 7),  # 1970-01-01 was a Thursday
        array(user.recent_items), array(user.recent_actions), array(user.recent_ts),
        small(int(user.accepted > len(user.recent_ts))), small(user.late), small(user.repeats),
    )  # fmt: skip
    hset = HSET % (key, *texts, by_actions(tuple(user.counts)))
    return hset + PEXPIREAT % (key, bulk(str(user.as_of + redis_keys.SESSION_TTL_MS)))


class Hashes:
    """The hashes of a Redis, written a batch at a time."""

    def __init__(self, client: redis.Redis) -> None:
        self.connection = client.connection_pool.get_connection()

    def write(self, users: Iterable[tuple[str, User]]) -> None:
        for part in batched(users, PIPELINE):
            self.connection.send_packed_command(["".join([commands(user_id, user) for user_id, user in part]).encode()])
            for _ in range(2 * len(part)):
                self.connection.read_response()


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part
