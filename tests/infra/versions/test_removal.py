"""Lists in Redis lose what the rules leave out by now, and nothing else changes."""

from typing import Any

from redis import Redis

from headrace.infra.versions import removal
from headrace.infra.versions.rules import ItemRules
from headrace.schemas import redis_keys
from headrace.schemas.lists import Entry, Listed, encode
from tests.edge.conftest import redis, redis_port  # noqa: F401  # fixtures

RULES = ItemRules(frozenset({"lamp", "in neither list"}), frozenset({"lamp", "bulb", "rug"}))


def listed(*items: str) -> bytes:
    return encode(Listed("v1", 7, [Entry(item, 0.5, "lamp") for item in items]))


def test_each_list_loses_its_items_and_keeps_its_expiry(redis: Redis) -> None:  # noqa: F811
    lists = {
        redis_keys.also_viewed("lamp"): listed("bulb", "gone", "rug"),
        redis_keys.bought_together("bulb"): listed("lamp"),
        redis_keys.trending(): listed("rug", "lamp"),
        redis_keys.also_viewed("rug"): listed("bulb"),
        redis_keys.live("v1", "ann"): listed("lamp", "bulb"),
    }
    for key, value in lists.items():
        redis.set(key, value, pxat=4_000_000_000_000)
    redis.set(redis_keys.also_viewed("x"), "no list")
    redis.hset(redis_keys.session("ann"), "events", "1")
    assert removal.remove(redis, redis_keys.together(), RULES) == 3
    keys: Any = redis.keys()
    after = {key.decode(): redis.get(key) for key in keys if key.decode() in lists}
    expected = lists | {
        redis_keys.also_viewed("lamp"): listed("bulb", "rug"),
        redis_keys.trending(): listed("rug"),
    }
    del expected[redis_keys.bought_together("bulb")]
    assert after == expected
    assert {redis.pexpiretime(key) for key in expected} == {4_000_000_000_000}
    assert removal.remove(redis, redis_keys.together(), RULES) == 0
    assert removal.remove(redis, redis_keys.of_versions(), RULES) == 1
    assert redis.get(redis_keys.live("v1", "ann")) == listed("bulb")
    assert redis.get(redis_keys.also_viewed("x")) == b"no list"


def test_lists_of_every_version(redis: Redis) -> None:  # noqa: F811
    keys = [redis_keys.recs(each, "ann") for each in ("v1", "v2")]
    keys += [redis_keys.similar("v1", "rug"), redis_keys.popular("v1"), redis_keys.popular_by("v1", "device", "phone")]
    keys.append(redis_keys.trending_by("v1", "category", "lamps"))
    for key in keys:
        redis.set(key, listed("lamp", "bulb"))
    assert removal.remove(redis, redis_keys.of_versions(), RULES) == len(keys) == 6
    assert {redis.get(key) for key in keys} == {listed("bulb")}


def test_a_list_that_a_job_writes_meanwhile_stays(redis: Redis) -> None:  # noqa: F811
    key = redis_keys.trending()
    redis.set(key, listed("bulb"))
    run: Any = redis.eval
    assert run(removal.REPLACE, 1, key, listed("lamp", "rug"), listed("rug")) == 0
    assert run(removal.REPLACE, 1, key, listed("lamp"), "") == 0
    assert redis.get(key) == listed("bulb")


def test_more_keys_than_a_page(redis: Redis) -> None:  # noqa: F811
    pipeline = redis.pipeline(transaction=False)
    for n in range(2 * removal.PAGE + 1):
        pipeline.set(redis_keys.also_viewed(f"i{n}"), listed("lamp", "bulb"))
    pipeline.execute()
    assert removal.remove(redis, redis_keys.together(), RULES) == 2 * removal.PAGE + 1
