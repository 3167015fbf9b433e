"""edge/shoppers/closed_loop.py: shoppers with known tastes, on a real Redis."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis

from headrace.edge.recommendations import Recommendations, policy
from headrace.edge.shoppers.closed_loop import ClosedLoop, Rate, arms
from headrace.edge.shoppers.simulator import Shop
from headrace.edge.spool import Journal
from headrace.edge.spool_line import message
from headrace.edge.tracker import Limits, Tracker
from headrace.schemas import redis_keys
from headrace.udfs.bandit.slate import Chooser
from tests.edge.broker import free_port
from tests.edge.redis_lists import items_of, publish, put


def test_the_mean_of_slates_and_its_interval_by_hand() -> None:
    """Shares 0, .2, .4: mean .2, variance .04, half width 1.96 sqrt(.04 / 3)."""
    rate = Rate().seen(0.0).seen(0.4).merge(Rate().seen(0.2))
    assert rate.slates == 3
    assert rate.mean == pytest.approx(0.2)
    assert rate.half_width == pytest.approx(1.96 * np.sqrt(0.04 / 3))
    assert (Rate().mean, Rate().half_width, Rate().seen(0.5).half_width) == (0.0, 1.0, 1.0)


@pytest.fixture
def shop(redis: Redis) -> Shop:
    """Makes a shop of 12 items, the first of which is the most popular one."""
    made = Shop(seed=4, users=40, items=12)
    publish(redis, items={item.item_id: 12.0 - n for n, item in enumerate(made.items)})
    return made


def test_shoppers_click_by_their_hidden_tastes_whatever_the_arm(redis: Redis, shop: Shop, tmp_path: Path) -> None:
    put(redis, redis_keys.live("v1", "run-shopper-3"), {"item-11": 1.0})  # plays no part
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with Tracker(nowhere, tmp_path, limits=Limits(close_s=0.0)) as tracker:
        ways = arms(shop, redis, tracker, Chooser(policy("linucb")))
        loop = ClosedLoop(shop, ways, tracker, seed=5, prefix="run-", inside=10)
        seen = [loop.step() for _ in range(1200)]
    assert list(ways) == ["linucb", "popular", "random"]
    by_arm = {name: [each for each in seen if each.arm == name] for name in ways}
    for outcomes in by_arm.values():
        assert len(outcomes) == pytest.approx(400, abs=70)
        rates, expected = ([getattr(each, name) for each in outcomes] for name in ("rate", "expected"))
        assert np.mean(rates) == pytest.approx(np.mean(expected), abs=4 * np.sqrt(0.25 / (5 * len(outcomes))))
    assert {each.shown.items for each in by_arm["popular"]} == {by_arm["popular"][0].shown.items}
    assert items_of(by_arm["popular"][0].shown) == [f"item-{n}" for n in range(5)]
    assert {item for each in by_arm["random"] for item in items_of(each.shown)} == {f"item-{n}" for n in range(12)}
    assert by_arm["random"][0].shown.propensities == pytest.approx([1 / 12, 1 / 11, 1 / 10, 1 / 9, 1 / 8])
    assert all(each.best >= each.expected - 1e-12 for each in seen)
    visitors = [each.shown.user_id for each in seen]
    assert set(visitors) == {f"run-shopper-{n}" for n in range(40)}
    rounds = [visitors[at : at + 10] for at in range(0, 1200, 10)]
    assert all(len(set(together)) == 10 for together in rounds)
    assert [now == before for before, now in pairwise(rounds)] == [n % 8 != 0 for n in range(1, 120)]
    spooled = sent(tmp_path)
    clicks = [each for each in spooled if "event_id" in each]
    shown = {(each["impression_id"], each["user_id"], each["item_id"]) for each in spooled if "context" in each}
    assert len(clicks) == sum(len(each.clicked) for each in seen)
    assert {(each["impression_id"], each["user_id"], each["item_id"]) for each in clicks} <= shown
    assert len(shown) == 5 * 1200


def test_an_item_that_the_shop_does_not_have_is_not_clicked(redis: Redis, shop: Shop, tmp_path: Path) -> None:
    publish(redis, items={"of another version": 1.0})
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    with Tracker(nowhere, tmp_path, limits=Limits(close_s=0.0)) as tracker:
        loop = ClosedLoop(shop, {"popular": Recommendations(redis, tracker)}, tracker, seed=5)
        assert {loop.step().clicked for _ in range(50)} == {()}


def sent(spool: Path) -> list[dict[str, Any]]:
    """Returns what waits in the spool of a closed tracker."""
    records = []
    for journal in Journal.orphans(spool):
        records += [json.loads(message(line).value) for line in journal.window(1 << 30)]
        journal.close()
    return records
