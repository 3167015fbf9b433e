"""What a user is not shown: what the caller leaves out, what they blocked, disliked or just bought; from any list."""

import json
from typing import Any

import pytest
from redis import Redis

from headrace.edge.recommendations import SOURCES, Recommendations, policy
from headrace.schemas import redis_keys
from headrace.udfs.bandit.slate import Chooser
from tests.edge.redis_lists import ITEMS, NOW_MS, POPULARITY, items_of, publish, put
from tests.edge.test_recommendations import recommend

PLACE = {"location": "NL"}
KEYS = {
    "live": redis_keys.live("v1", "ann"), "recs": redis_keys.recs("v1", "ann"),
    "place": redis_keys.popular_by("v1", "location", "NL"), "popular": redis_keys.popular("v1"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _published(redis: Redis) -> None:
    publish(redis)


def hide(redis: Redis, **until_ms: int) -> None:
    redis.zadd(redis_keys.hidden("ann"), until_ms)


@pytest.mark.parametrize("source", SOURCES)
def test_it_holds_in_every_list(redis: Redis, source: str) -> None:
    put(redis, KEYS[source], ITEMS)
    hide(redis, a=NOW_MS + 3_600_000, c=NOW_MS - 1, nowhere=NOW_MS + redis_keys.FOREVER_MS)
    recommendations = Recommendations(redis, sources=(source,))
    shown = recommendations.for_user("ann", 3, environment=PLACE)
    assert (shown.source, items_of(shown)) == (source, ["b", "c", "d"])
    shown = recommendations.for_user("ann", 3, environment=PLACE, without=["b", "d", "unknown"])
    assert (items_of(shown), shown.propensities) == (["c"], (1.0,))
    shown = recommendations.for_user("ann", 3, environment=PLACE, without={"b", "c", "d"})
    assert (shown.source, shown.items, shown.stale) == ("none", (), True)
    if source in ("place", "popular"):
        assert items_of(recommendations.for_user("bob", 9, environment=PLACE)) == list(ITEMS)


def test_a_list_of_which_nothing_is_left_gives_way_to_the_next(redis: Redis) -> None:
    for source, item in zip(SOURCES, "abcd", strict=True):
        put(redis, KEYS[source], {item: 1.0})
    recommendations, without = Recommendations(redis), ""
    for source, item in zip(SOURCES, "abcd", strict=True):
        shown = recommendations.for_user("ann", 1, environment=PLACE, without=list(without))
        assert (shown.source, items_of(shown), shown.own) == (source, [item], source in ("live", "recs"))
        without += item
    hide(redis, a=NOW_MS + 3_600_000)
    assert recommendations.for_user("ann", 1).source == "recs"


def test_a_bandit_chooses_among_what_is_left(redis: Redis) -> None:
    hide(redis, a=NOW_MS + 3_600_000)
    recommendations = Recommendations(redis, None, Chooser(policy("linucb")), encoder=POPULARITY)
    shown = recommendations.for_user("ann", 9, without=["c"])
    assert set(items_of(shown)) == {"b", "d"}


def test_a_text_is_no_collection_of_items(redis: Redis) -> None:
    with pytest.raises(ValueError, match="without must be a collection of item ids, got the text 'abc'"):
        Recommendations(redis).for_user("ann", 1, without="abc")


def test_the_command(redis: Redis, redis_port: int) -> None:
    def data(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(recommend(redis_port, "ann", "--json", *arguments).stdout)["data"]
        return found

    assert [each["item"] for each in data("--without", "a", "--without", "c")["items"]] == ["b", "d"]
    said = recommend(redis_port, "ann", "--explain").stdout
    assert "popular: the shopper has no list of their own: what most people liked" in said
    everything = [word for item in ITEMS for word in ("--without", item)]
    done = recommend(redis_port, "ann", *everything)
    assert (done.returncode, done.stdout) == (1, "")
    assert "version v1 has no list in Redis with an item for ann" in done.stderr
