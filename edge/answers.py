"""What Redis says of one request, in one round trip. A key that cannot be read costs that key; `failed` names it.

When Redis is away, nobody waits for it again within a second, and the popular list that was read last is what is left.
With `strict`, whatever fails is raised.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from headrace.edge.policies import RecommendationError
from headrace.schemas import lists, live_session, redis_keys
from headrace.schemas.lists import Listed

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

log = logging.getLogger(__name__)

Got = TypeVar("Got")
SOURCES = ("live", "recs", "place", "popular")  # the first that has an item to show is taken
AWAY = (NoConnection, NoAnswer, RedisClusterException, OSError)
FRESH_S = 1.0
LOG_EVERY_S = 60.0  # of one kind of failure


class ServedVersion(msgspec.Struct, frozen=True):
    version: str


class Answer(NamedTuple):
    source: str = "none"
    listed: Listed | None = None  # without what is hidden
    session: Mapping[str, Any] = {}
    popular: Listed | None = None


class Answers:
    def __init__(self, redis: "Redis | RedisCluster", sources: Sequence[str], strict: bool) -> None:
        self._redis, self._sources, self._strict = redis, sources, strict
        self._served, self._ask_at_s, self._away_until_s = "", 0.0, 0.0
        self._popular: Listed | None = None
        self._log_at_s: dict[str, float] = {}

    def version(self, failed: set[str]) -> str:
        """The version that serves, at most a second old, or the last one that was known. Empty if none is."""
        if time.monotonic() >= self._ask_at_s:
            key = redis_keys.model_current()
            replies = self.asked(lambda: [self._reply(key)], failed)
            served = self._decoded("version", key, replies[0], _served, failed) if replies else None
            if not failed:
                self._served, self._ask_at_s = served.version if served else "", time.monotonic() + FRESH_S
        return self._served

    def of(
        self, version: str, user_id: str, environment: Mapping[str, Any], absent: frozenset[str], now_ms: int,
        failed: set[str],
    ) -> Answer:  # fmt: skip
        """The first list with an item that is neither hidden nor `absent`; the session; the popular list."""
        places = [(field, str(environment[field])) for field in redis_keys.PLACES if environment.get(field)]
        keys = [("live", redis_keys.live(version, user_id)), ("recs", redis_keys.recs(version, user_id))]
        keys += [("place", redis_keys.popular_by(version, *place)) for place in places]
        keys.append(("popular", redis_keys.popular(version)))
        singles = [*(key for _, key in keys), redis_keys.session(user_id)]
        replies = self.asked(lambda: self._read(singles, user_id, now_ms), failed)
        if replies is None:
            return self._left(version, absent)
        *values, session, hidden = replies
        got = [
            (name, self._decoded(name, key, value, lists.decode, failed))
            for (name, key), value in zip(keys, values, strict=True)
        ]
        features = self._decoded("session", redis_keys.session(user_id), session, live_session.decode, failed) or {}
        absent |= set(self._decoded("hidden", redis_keys.hidden(user_id), hidden, _names, failed) or ())
        popular = got[-1][1]
        self._popular = popular or self._popular
        source, listed = self._first(got, absent)
        if listed is None and "popular" in failed:
            return self._left(version, absent)._replace(session=features)
        return Answer(source, listed, features, popular)

    def asked(self, read: Callable[[], Got], failed: set[str]) -> Got | None:
        """What Redis says, or None if it is away. An error of a key is raised."""
        if not self._strict and time.monotonic() < self._away_until_s:
            failed.add("redis")
            return None
        try:
            return read()
        except AWAY as error:
            self._away_until_s = time.monotonic() + FRESH_S
            self.failed("redis", error, failed)
            return None

    def failed(self, name: str, error: Exception, failed: set[str]) -> None:
        """Notes what could not be read; raises it with `strict`."""
        if self._strict:
            raise error
        failed.add(name)
        if time.monotonic() >= self._log_at_s.get(name, 0.0):
            self._log_at_s[name] = time.monotonic() + LOG_EVERY_S
            log.error("recommendations are degraded: %s: %s", name, error)

    def _reply(self, key: str) -> Any:
        try:
            return self._redis.get(key)
        except ResponseError as error:
            return error

    def _read(self, keys: list[str], user_id: str, now_ms: int) -> list[Any]:
        """Each reply is a value, or the error of its key."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        pipeline.zrangebyscore(redis_keys.hidden(user_id), now_ms, "+inf")
        return pipeline.execute(raise_on_error=False)

    def _first(self, got: Sequence[tuple[str, Listed | None]], absent: frozenset[str]) -> tuple[str, Listed | None]:
        allowed = ((source, _without(each, absent)) for source, each in got if source in self._sources and each)
        return next((each for each in allowed if each[1].items), ("none", None))

    def _left(self, version: str, absent: frozenset[str]) -> Answer:
        """What is known without Redis. Nothing says what is hidden from the user."""
        popular = self._popular if self._popular and self._popular.version == version else None
        return Answer(*self._first([("popular", popular)], absent), {}, popular)

    def _decoded(self, name: str, key: str, reply: Any, decode: Callable[[Any], Got], failed: set[str]) -> Got | None:
        try:
            if isinstance(reply, Exception):
                raise reply
            return None if reply is None else decode(reply)
        except (RedisError, *AWAY) as error:
            self.failed(name, RecommendationError(f"Redis key {key}: {error}"), failed)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.failed(name, RecommendationError(f"Redis key {key}: {error}, got {reply[:80]!r}"), failed)
        return None


def _without(listed: Listed, absent: frozenset[str]) -> Listed:
    return Listed(listed.version, listed.as_of_ms, [entry for entry in listed.items if entry.item not in absent])


_served = msgspec.json.Decoder(ServedVersion).decode


def _names(members: list[bytes]) -> list[str]:
    return [member.decode(errors="replace") for member in members]
