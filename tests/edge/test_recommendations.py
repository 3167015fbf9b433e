"""edge/recommendations.py on a real Redis, its impressions on a real broker, and `headrace recommend`."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from headrace.edge.recommendations import FRESH_S, RecommendationError, Recommendations, policy
from headrace.edge.tracker import Tracker
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, IMPRESSIONS
from headrace.udfs.bandit import arms, sums_version
from headrace.udfs.bandit.context import SHOPPER
from headrace.udfs.bandit.slate import Chooser
from tests import topic
from tests.edge.broker import Broker, free_port
from tests.edge.redis_lists import ITEMS, LEARNT, NOW_MS, POPULARITY, items_of, publish, put, teach
from tests.infra.cli.test_main import headrace

# Which list.


def test_the_first_list_that_is_there_is_taken(redis: Redis) -> None:
    recommendations = Recommendations(redis)
    shown = recommendations.for_user("ann", 2)
    assert (shown.source, shown.version, shown.items, shown.stale) == ("none", "", (), True)
    time.sleep(FRESH_S)
    redis.set(redis_keys.model_current(), json.dumps({"version": "v1"}))
    shown = recommendations.for_user("ann", 2)
    assert (shown.source, shown.version, shown.items, shown.stale) == ("none", "v1", (), True)
    for source, key in {
        "popular": redis_keys.popular("v1"), "recs": redis_keys.recs("v1", "ann"), "live": redis_keys.live("v1", "ann"),
    }.items():  # fmt: skip
        put(redis, key, {f"{source}-1": 2.0, f"{source}-2": 1.0, f"{source}-3": 0.5})
        shown = recommendations.for_user("ann", 2)
        assert (shown.source, items_of(shown)) == (source, [f"{source}-1", f"{source}-2"])
        assert (shown.version, shown.as_of_ms, shown.stale) == ("v1", NOW_MS, False)
        assert (shown.propensities, shown.impression_id) == ((1.0, 1.0), None)
    put(redis, redis_keys.live("v1", "ann"), {})
    assert recommendations.for_user("ann", 2).source == "recs"
    assert recommendations.for_user("bob", 2).source == "popular"


def test_a_caller_may_want_fewer_sources(redis: Redis) -> None:
    publish(redis)
    put(redis, redis_keys.live("v1", "ann"), {"x": 1.0})
    assert Recommendations(redis, sources=("popular",)).for_user("ann", 9).source == "popular"
    assert Recommendations(redis, sources=("live",)).for_user("bob", 9).source == "none"
    with pytest.raises(ValueError, match=r"sources must be some of live, recs, place, popular, got \('lively',\)"):
        Recommendations(redis, sources=("lively",))


def test_a_stranger_gets_what_is_popular_where_they_are(redis: Redis) -> None:
    """location before age before device, each only if its list is there; then what anyone likes."""
    publish(redis)
    recommendations = Recommendations(redis)
    where = {"location": "NL", "age": 30, "device": "phone", "weather": "rain"}
    assert recommendations.for_user("ann", 1, environment=where).source == "popular"
    for field in ("device", "age", "location"):
        put(redis, redis_keys.popular_by("v1", field, str(where[field])), {field: 1.0})
        shown = recommendations.for_user("ann", 1, environment=where)
        assert (shown.source, items_of(shown)) == ("place", [field])
    assert recommendations.for_user("ann", 1).source == "popular"
    assert recommendations.for_user("ann", 1, environment={"location": "", "device": None}).source == "popular"
    assert Recommendations(redis, sources=("popular",)).for_user("ann", 1, environment=where).source == "popular"
    put(redis, redis_keys.live("v1", "ann"), {"x": 1.0})
    assert recommendations.for_user("ann", 1, environment=where).source == "live"


def test_a_new_version_is_seen_within_a_second(redis: Redis) -> None:
    publish(redis, "v1")
    recommendations = Recommendations(redis)
    assert recommendations.for_user("ann", 1).version == "v1"
    publish(redis, "v2")
    time.sleep(FRESH_S)
    assert recommendations.for_user("ann", 1).version == "v2"


def test_an_old_list_is_stale_and_so_is_one_of_another_version(redis: Redis) -> None:
    publish(redis)
    recommendations, key = Recommendations(redis, stale_after_ms=3_600_000), redis_keys.live("v1", "ann")
    put(redis, key, ITEMS, as_of_ms=NOW_MS - 600_000)
    assert not recommendations.for_user("ann", 1).stale
    put(redis, key, ITEMS, as_of_ms=NOW_MS - 3_600_001)
    assert recommendations.for_user("ann", 1).stale
    put(redis, key, ITEMS, version="v0")
    shown = recommendations.for_user("ann", 1)
    assert (shown.stale, shown.version) == (True, "v0")


# What is wrong is said once, with its key.

WRONG = {
    "pointer": (redis_keys.model_current(), b"{"),
    "pointer without a version": (redis_keys.model_current(), b'{"dims": {}}'),
    "live": (redis_keys.live("v1", "ann"), b"not JSON"),
    "recs": (redis_keys.recs("v1", "ann"), b'{"version": "v1", "as_of_ms": 1, "items": [{"item": 3, "score": 1}]}'),
    "popular": (redis_keys.popular("v1"), b'{"version": "v1", "as_of_ms": "now", "items": []}'),
    "not UTF-8": (redis_keys.live("v1", "ann"), b'{"version": "\xff"}'),
}


@pytest.mark.parametrize(("key", "value"), WRONG.values(), ids=WRONG.keys())
def test_wrong_json_is_one_error_that_names_its_key(redis: Redis, key: str, value: bytes) -> None:
    publish(redis)
    redis.set(key, value)
    with pytest.raises(RecommendationError) as caught:
        Recommendations(redis, strict=True).for_user("ann", 5)
    said = str(caught.value)
    assert said.startswith(f"Redis key {key}: ")
    assert said.endswith(f", got {value!r}")
    assert caught.value.__cause__ is None


def test_a_wrong_session_names_its_key(redis: Redis) -> None:
    publish(redis)
    redis.set(redis_keys.session("ann"), "[1]")
    with pytest.raises(RecommendationError, match=f"^Redis key {redis_keys.session('ann')}: .*got b'\\[1\\]'"):
        Recommendations(redis, strict=True).for_user("ann", 5)


def test_arms_that_cannot_be_read_or_are_of_another_context_name_their_key(redis: Redis) -> None:
    publish(redis)
    key = redis_keys.bandit("linucb", LEARNT)
    wide = arms.pack_posterior(arms.Posterior(np.zeros((1, 3)), np.eye(3)[None], np.ones(1)))[0]
    for value, said in {b"short": "a packed arm must have", wide: "contexts must have 2 values, got arms of 3"}.items():
        teach(redis, key, "a", value)
        with pytest.raises(RecommendationError, match=f"^Redis key {key}: {said}"):
            Recommendations(redis, None, Chooser(policy("linucb")), encoder=POPULARITY, strict=True).for_user("ann", 5)


def test_a_client_that_decodes_is_refused(redis_port: int) -> None:
    with pytest.raises(ValueError, match="decode_responses must be False, got True"):
        Recommendations(Redis(port=redis_port, decode_responses=True))


def test_nonsense_is_refused(redis: Redis) -> None:
    with pytest.raises(ValueError, match="n must be >= 1, got 0"):
        Recommendations(redis).for_user("ann", 0)
    with pytest.raises(ValueError, match="user_id must have at least 1 character"):
        Recommendations(redis).for_user("", 1)
    with pytest.raises(ValueError, match=r"policy must be one of linucb, .*, got 'best'"):
        policy("best")


# Round trips.


def round_trips(redis: Redis, act: Any) -> int:
    """Counts the reads of the server's sockets, without that of the question itself."""

    def reads() -> int:
        stats: Any = redis.info("stats")
        return int(stats["total_reads_processed"])

    before = reads()
    act()
    return reads() - before - 1


@pytest.mark.parametrize(("name", "again"), [(None, 1), ("linucb", 1), ("hybrid_linucb", 1)])
def test_lists_are_one_round_trip_and_posteriors_another(redis: Redis, name: str | None, again: int) -> None:
    """The version and the posteriors are kept for a second, so that most calls cost one."""
    publish(redis)
    recommendations = Recommendations(redis, None, Chooser(policy(name)) if name else None)
    assert round_trips(redis, lambda: recommendations.for_user("ann", 5)) == 2 + (name is not None)
    redis.config_resetstat()
    where = {"location": "NL", "device": "phone"}
    assert round_trips(redis, lambda: recommendations.for_user("bob", 5, environment=where)) == again
    # Each of one key, and no MULTI: so a cluster answers them, too.
    sent: Any = redis.info("commandstats")
    asked = {name for name in sent if not name.startswith(("cmdstat_info", "cmdstat_config"))}
    assert asked == {"cmdstat_get", "cmdstat_zrangebyscore"}


# Impressions.


def test_what_was_shown_is_sent(redis: Redis, broker: Broker, tmp_path: Path) -> None:
    publish(redis)
    teach(redis, redis_keys.bandit("linucb", sums_version.DEFAULT), "b", arms.pack_posterior(certain())[0])
    with Tracker(broker.kafka.client(), tmp_path) as tracker:
        recommendations = Recommendations(redis, tracker, Chooser(policy("linucb"), exploration=0.05))
        shown = recommendations.for_user("ann", 3, surface="cart", environment={"device": "phone"})
        plain = Recommendations(redis, tracker).for_user("bob", 2)
        tracker.track("ann", items_of(shown)[0], "click", impression_id=shown.impression_id)
    records = list(topic.read(broker.kafka, IMPRESSIONS))
    assert {record.key for record in records} == {b"ann", b"bob"}
    sent = sorted(
        (json.loads(record.value) for record in records), key=lambda each: (each["user_id"], each["position"])
    )
    ann, bob = sent[:3], sent[3:]
    assert [each["item_id"] for each in ann] == items_of(shown)
    assert [each["propensity"] for each in ann] == list(shown.propensities)
    assert [each["position"] for each in ann] == [0, 1, 2]
    for each in sent:
        assert len(each["context"]) == SHOPPER.d
        popularity = ITEMS[each["item_id"]] / 100
        assert popularity in each["context"]
        assert (each["encoder_version"], each["model_version"]) == (SHOPPER.version, "v1")
        assert abs(each["ts_ms"] - time.time_ns() // 1_000_000) < 60_000
    assert {(each["impression_id"], each["policy"], each["surface"]) for each in ann} == {
        (shown.impression_id, "linucb", "cart")
    }
    assert {(each["impression_id"], each["policy"], each["propensity"]) for each in bob} == {
        (plain.impression_id, "ranked", 1.0)
    }
    assert plain.impression_id != shown.impression_id
    (click,) = topic.read(broker.kafka, CLICKS)
    assert json.loads(click.value)["impression_id"] == shown.impression_id


def certain() -> arms.Posterior:
    return arms.Posterior(np.zeros((1, SHOPPER.d)), np.eye(SHOPPER.d)[None] * 1e-6, np.full(1, 1000.0))


# The command.


def recommend(redis_port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"HEADRACE_REDIS__PORT": str(redis_port), "HEADRACE_REDIS__HOST": "127.0.0.1"}
    return headrace("recommend", *arguments, **settings)


def test_the_command_shows_a_list_and_why(redis: Redis, redis_port: int) -> None:
    publish(redis)
    entry = {"item": "lamp", "score": 0.8765, "reason": "bulb"}
    listed = {"version": "v1", "as_of_ms": time.time_ns() // 1_000_000, "items": [entry, {"item": "rug", "score": 0.5}]}
    redis.set(redis_keys.live("v1", "ann"), json.dumps(listed))
    plain = recommend(redis_port, "ann").stdout
    assert "lamp" in plain
    assert "bulb" not in plain
    why = recommend(redis_port, "ann", "--explain", "-n", "1").stdout
    assert "rug" not in why
    for said in ("lamp", "0.8765", "bulb", "live: ", "version v1, as of "):
        assert said in why
    assert json.loads(recommend(redis_port, "ann", "--json", "--n", "1").stdout)["data"] == {
        "user": "ann", "source": "live", "version": "v1", "as_of_ms": listed["as_of_ms"], "stale": False,
        "items": [entry],
    }  # fmt: skip


def test_the_command_says_what_is_wrong_in_one_line(redis: Redis, redis_port: int) -> None:
    wrong: list[tuple[dict[str, str], str]] = [
        ({}, "no version is published: `headrace train`"),
        ({redis_keys.model_current(): '{"version": "v1"}'}, "in Redis with an item for ann: `headrace publish v1`"),
        ({redis_keys.popular("v1"): "{"}, f"Redis key {redis_keys.popular('v1')}: "),
    ]
    for values, said in wrong:
        for key, value in values.items():
            redis.set(key, value)
        done = recommend(redis_port, "ann")
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert said in line
    away = recommend(free_port(), "ann")
    assert away.returncode == 1
    assert "Connection refused" in away.stderr
    assert away.stderr.count("\n") == 1
