"""edge/recommendations.py when a source fails: the best answer that is left, which says what failed; never an error."""

import json
import logging
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from headrace.edge.answers import FRESH_S
from headrace.edge.recommendations import PATIENCE_S, RANKED, Recommendations, policy
from headrace.edge.tracker import Tracker
from headrace.edge.tracker_values import Limits
from headrace.infra.settings import load
from headrace.schemas import redis_keys
from headrace.udfs.bandit.slate import Chooser
from tests.edge.broker import free_port
from tests.edge.conftest import redis_server
from tests.edge.redis_lists import NOW_MS, POPULARITY, items_of, publish, put
from tests.edge.test_tracker import nowhere, spooled

TIMEOUT_S = 0.3
ANN = redis_keys.session("ann")
LISTS = {
    "live": redis_keys.live("v1", "ann"), "recs": redis_keys.recs("v1", "ann"),
    "place": redis_keys.popular_by("v1", "location", "NL"), "popular": redis_keys.popular("v1"),
}  # fmt: skip
PLACE = {"location": "NL"}


def bandit(redis: Redis, **options: Any) -> Recommendations:
    return Recommendations(redis, chooser=Chooser(policy("linucb")), encoder=POPULARITY, **options)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Redis]]:
    """A Redis with a version, which a test may stop or end."""
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    with redis_server(tmp_path, free_port()) as (process, port), Redis(port=port, **timeouts) as client:
        publish(client)
        yield process, client


# One key.


@pytest.mark.parametrize("spoil", ["not JSON", "another type"])
@pytest.mark.parametrize(
    ("broken", "left"), [("live", "recs"), ("recs", "live"), ("place", "live"), ("popular", "live")]
)
def test_a_list_that_cannot_be_read_costs_that_list(redis: Redis, broken: str, left: str, spoil: str) -> None:
    publish(redis)
    for source, key in LISTS.items():
        put(redis, key, {source: 1.0})
    redis.delete(LISTS[broken])
    if spoil == "not JSON":
        redis.set(LISTS[broken], "{")
    else:
        redis.hset(LISTS[broken], "a", "b")
    shown = Recommendations(redis).for_user("ann", 1, environment=PLACE)
    assert (shown.source, items_of(shown), shown.degraded) == (left, [left], (broken,))
    assert Recommendations(redis).for_user("bob", 1).degraded == (("popular",) if broken == "popular" else ())


def test_a_good_answer_is_not_degraded(redis: Redis) -> None:
    publish(redis)
    redis.set(ANN, json.dumps({"events": 3, "recent_items": ["a"], "recent_truncated": 0}))
    assert bandit(redis).for_user("ann", 2).degraded == ()
    redis.flushall()
    assert Recommendations(redis).for_user("ann", 2).degraded == ()  # there is nothing, and nothing failed


def test_what_is_hidden_cannot_be_read(redis: Redis) -> None:
    publish(redis)
    redis.set(redis_keys.hidden("ann"), "a")
    shown = Recommendations(redis).for_user("ann", 9, without=["b"])
    assert (items_of(shown), shown.degraded) == (["a", "c", "d"], ("hidden",))


@pytest.mark.parametrize("value", [b"{", b"\xff", b"[1]", b"3", b'{"events": "many"}', b'{"recent_items": 3}', None])
def test_a_session_that_cannot_be_read_counts_as_none(redis: Redis, tmp_path: Path, value: bytes | None) -> None:
    publish(redis)
    if value is None:
        redis.hset(ANN, "events", "3")
    else:
        redis.set(ANN, value)
    with Tracker(nowhere(), tmp_path, limits=Limits(close_s=0)) as tracker:
        shown = Recommendations(redis, tracker).for_user("ann", 2)
        stranger = Recommendations(redis, tracker).for_user("bob", 2)
    assert (items_of(shown), shown.degraded) == (["a", "b"], ("session",))
    assert stranger.degraded == ()
    contexts = {event["user_id"]: event["context"] for event in spooled(tmp_path)}
    assert contexts["ann"][:3] == contexts["bob"][:3]


@pytest.mark.parametrize("wrong", ["short", "another type"])
def test_without_posteriors_the_list_is_as_it_is(redis: Redis, tmp_path: Path, wrong: str) -> None:
    publish(redis)
    with Tracker(nowhere(), tmp_path, limits=Limits(close_s=0)) as tracker:
        recommendations = bandit(redis, tracker=tracker)
        key = recommendations._posteriors._key  # type: ignore[union-attr]
        if wrong == "short":
            redis.hset(key, "a", "short")
        else:
            redis.set(key, "3")
        shown = recommendations.for_user("ann", 3)
        again = recommendations.for_user("bob", 3)
    assert (items_of(shown), shown.propensities, shown.degraded) == (["a", "b", "c"], (1.0, 1.0, 1.0), ("bandit",))
    assert again.source == "popular"  # an arm's fault is none of Redis
    assert {event["policy"] for event in spooled(tmp_path)} == {RANKED}


def test_a_pointer_that_cannot_be_read_leaves_the_last_version(redis: Redis) -> None:
    publish(redis)
    recommendations = Recommendations(redis)
    assert recommendations.for_user("ann", 1).degraded == ()
    redis.set(redis_keys.model_current(), "{")
    time.sleep(FRESH_S)
    shown = recommendations.for_user("ann", 1)
    assert (shown.version, items_of(shown), shown.degraded) == ("v1", ["a"], ("version",))
    redis.delete(redis_keys.model_current())
    redis.hset(redis_keys.model_current(), "a", "b")
    assert recommendations.for_user("ann", 1).degraded == ("version",)
    assert Recommendations(redis).for_user("ann", 1)[1:] == ((), (), "none", "", 0, True, None, ("version",))


def test_impressions_that_the_tracker_refuses(redis: Redis, tmp_path: Path) -> None:
    publish(redis)
    with Tracker(nowhere(), tmp_path, limits=Limits(buffer_bytes=1, block_s=0, spool_bytes=1, close_s=0)) as tracker:
        tracker.track("ann", "lamp", "view")
        shown = Recommendations(redis, tracker).for_user("ann", 2)
    assert (items_of(shown), shown.impression_id, shown.degraded) == (["a", "b"], None, ("impressions",))


def test_a_popular_list_that_breaks_is_shown_as_it_was(redis: Redis) -> None:
    publish(redis)
    recommendations = Recommendations(redis)
    assert recommendations.for_user("ann", 2).source == "popular"
    redis.set(LISTS["popular"], "{")
    shown = recommendations.for_user("bob", 2, without=["a"])
    assert (shown.source, items_of(shown), shown.degraded) == ("popular", ["b", "c"], ("popular",))
    assert Recommendations(redis, sources=("live",)).for_user("bob", 2).source == "none"


# Redis as a whole.


def test_without_redis_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    client = Redis(port=free_port(), socket_timeout=TIMEOUT_S)
    recommendations = bandit(client)
    for _ in range(3):
        shown = recommendations.for_user("ann", 3)
        assert (shown.source, shown.items, shown.degraded) == ("none", (), ("redis",))
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    with pytest.raises(RedisError):
        bandit(client, strict=True).for_user("ann", 3)


@pytest.mark.parametrize("how", ["ended", "stopped"])
def test_without_redis_the_last_popular_list_is_left(
    own_redis: tuple[subprocess.Popen[bytes], Redis], how: str
) -> None:
    process, client = own_redis
    recommendations = bandit(client)
    put(client, LISTS["live"], {"of ann": 1.0})
    assert recommendations.for_user("ann", 3).source == "live"
    process.send_signal(signal.SIGKILL if how == "ended" else signal.SIGSTOP)
    shown = recommendations.for_user("ann", 3, without=["a"])
    assert (shown.source, items_of(shown), shown.degraded) == ("popular", ["b", "c", "d"], ("redis",))
    assert (shown.version, shown.as_of_ms, shown.stale, shown.own) == ("v1", NOW_MS, False, False)
    assert shown.propensities == (1.0, 1.0, 1.0)
    assert Recommendations(client, sources=("live",)).for_user("ann", 3).source == "none"
    if how == "stopped":
        process.send_signal(signal.SIGCONT)
        time.sleep(FRESH_S)
        assert recommendations.for_user("ann", 3).source == "live"


def test_an_outage_costs_one_wait_a_second() -> None:
    """A port that takes connections and never answers, as a Redis that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Redis(port=silent.getsockname()[1], socket_timeout=TIMEOUT_S)
        recommendations, began_s = Recommendations(client), time.monotonic()
        asked = [recommendations.for_user("ann", 1).degraded for _ in range(200)]
        assert set(asked) == {("redis",)}
        assert time.monotonic() - began_s < 200 * TIMEOUT_S / 4


def test_connect_waits_less_than_the_jobs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().redis.timeout_s > PATIENCE_S
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HEADRACE_REDIS__PORT", str(silent.getsockname()[1]))
        done: list[Any] = []
        asking = threading.Thread(target=lambda: done.append(Recommendations.connect().for_user("ann", 1)), daemon=True)
        asking.start()
        asking.join(load().redis.timeout_s)
        assert [shown.degraded for shown in done] == [("redis",)]
