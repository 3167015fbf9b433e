"""What the stack holds, read back plainly, and how it differs from the oracle."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from redis import Redis as RedisClient

from headrace.infra.settings import Settings
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, SESSIONS
from tests import topic
from tests.oracles.sessions import Oracle

SHOWN = 20
JSON_FIELDS = ("recent_items", "recent_actions", "recent_ts_ms")
SCAN = 2_000
MINUTE_MS = 60_000  # what ends sooner may be gone while the test looks


def oracle_of(settings: Settings) -> Oracle:
    """Returns the oracle, fed with the whole topic."""
    oracle = Oracle(settings.session)
    for record in topic.read(settings.kafka, CLICKS):
        oracle.feed(record.partition, record.offset, record.timestamp, record.key, record.value)
    oracle.finish()
    return oracle


def differences(settings: Settings, oracle: Oracle) -> list[str]:
    """Returns the first differences in each place; none if Redis, `sessions` and `dead_letters` equal the oracle."""
    client, soon_ms = settings.redis.client(decode_responses=True), time.time_ns() // 1_000_000 + MINUTE_MS
    return [
        *unequal("Redis", by_field(oracle.redis()), by_field(hashes(client))),
        *unequal("expiry", oracle.expiries_ms(), expiries_ms(client)),
        *unequal("hidden", oracle.hidden(soon_ms), hidden(client, soon_ms)),
        *unequal("sessions", tally(oracle.sessions()), tally(sessions(settings))),
        *unequal("dead_letters", letters_of(oracle), dead_letters(settings, oracle)),
    ]


def unequal(place: str, expected: Mapping[Any, Any], actual: Mapping[Any, Any]) -> list[str]:
    wrong = [key for key in expected.keys() | actual.keys() if expected.get(key) != actual.get(key)]
    lines = [f"{place} {key}: expected {expected.get(key)!r}, got {actual.get(key)!r}" for key in sorted(wrong)[:SHOWN]]
    return [*lines, f"{place}: {len(wrong)} of {len(expected)} differ"] if wrong else []


def by_field(of_key: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], Any]:
    return {
        (key, name): json.loads(value) if name in JSON_FIELDS else value
        for key, fields in of_key.items()
        for name, value in fields.items()
    }


def hashes(client: RedisClient) -> dict[str, dict[str, str]]:
    keys = sorted(client.scan_iter(redis_keys.session("*"), SCAN))
    values: Any = client.mget(keys) if keys else []
    return {key: texts(value) for key, value in zip(keys, values, strict=True)}


def session_of(client: RedisClient, user: str) -> dict[str, str]:
    """Returns the features of a user as the oracle writes them; empty if there are none."""
    value: Any = client.get(redis_keys.session(user))
    return texts(value) if value else {}


def texts(value: str | bytes) -> dict[str, str]:
    """Returns a live session with its numbers as Python's repr, and its arrays as compact JSON."""
    fields = json.loads(value)
    return {name: _text(field) for name, field in fields.items()}


def _text(field: Any) -> str:
    if isinstance(field, list):
        return json.dumps(field, separators=(",", ":"), ensure_ascii=False)
    return field if isinstance(field, str) else repr(field)


def hidden(client: RedisClient, now_ms: int) -> dict[str, dict[str, int]]:
    """Returns what is hidden after now: key -> item -> ms."""
    keys = sorted(client.scan_iter(redis_keys.hidden("*"), SCAN))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.zrangebyscore(key, f"({now_ms}", "+inf", withscores=True)
    found = zip(keys, pipeline.execute(), strict=True)
    return {key: {item: int(ms) for item, ms in members} for key, members in found if members}


def expiries_ms(client: RedisClient) -> dict[str, int]:
    keys = sorted(client.scan_iter(redis_keys.session("*"), SCAN))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.pexpiretime(key)
    return dict(zip(keys, pipeline.execute(), strict=True))


def sessions(settings: Settings) -> list[dict[str, Any]]:
    records = list(topic.read(settings.kafka, SESSIONS))
    for record in records:
        assert record.key.decode() == json.loads(record.value)["user_id"]
    return [json.loads(record.value) for record in records]


def tally(closed: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """Returns how often each closed session is there: 1, unless it was written twice."""
    return Counter((s["user_id"], f"{s['start_ms']}-{s['end_ms']}", json.dumps(s, sort_keys=True)) for s in closed)


Letter = tuple[bytes | None, str, bytes | None]  # key, reason, raw bytes


def letters_of(oracle: Oracle) -> dict[tuple[int, int], list[Letter]]:
    return {(letter.partition, letter.offset): [(letter.key, letter.reason, letter.raw)] for letter in oracle.dead}


def dead_letters(settings: Settings, oracle: Oracle) -> dict[tuple[int, int], list[Letter]]:
    """Returns reasons by place in `clicks`. Any reason that the oracle has for a record counts as equal."""
    allowed = {(letter.partition, letter.offset): letter.reason for letter in oracle.dead}
    found: dict[tuple[int, int], list[Letter]] = {}
    for record in topic.read(settings.kafka, DEAD_LETTERS):
        headers = {name: value.decode() for name, value in record.headers}
        assert headers["topic"] == CLICKS
        assert headers["detail"], headers
        place = int(headers["partition"]), int(headers["offset"])
        said = headers["reason"]
        reason = allowed[place] if said in allowed.get(place, "").split("|") else said
        found.setdefault(place, []).append((record.key, reason, record.value))
    return found
