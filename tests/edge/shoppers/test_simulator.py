"""edge/shoppers/simulator.py: the same seed makes the same shop, and the clicks show the tastes."""

import time
from collections import Counter, defaultdict
from itertools import islice, pairwise

import pytest

from headrace.edge.shoppers.simulator import Click, Shop, in_real_time, in_the_past
from headrace.udfs.contract import Contract

START_MS = 1_700_000_000_000


def clicks(n: int, seed: int = 7, users: int = 200, rate: float = 50.0) -> list[Click]:
    return list(islice(Shop(seed, users).clicks(START_MS, rate), n))


def test_the_same_seed_gives_the_same_events() -> None:
    assert clicks(3000) == clicks(3000)
    assert [c["item_id"] for c in clicks(3000, seed=8)] != [c["item_id"] for c in clicks(3000)]


def test_every_event_keeps_the_contract_and_has_an_id_of_its_own() -> None:
    events = clicks(5000)
    for event in events:
        Contract.of("click").check(event)
    assert len({event["event_id"] for event in events}) == 5000
    assert {event["action"] for event in events} == {
        "view", "click", "like", "cart", "uncart", "purchase", "search", "dislike",
    }  # fmt: skip


def test_events_come_in_time_order_and_sessions_in_position_order() -> None:
    events = clicks(5000)
    assert all(a["ts_ms"] <= b["ts_ms"] for a, b in pairwise(events))
    positions, users = defaultdict(list), defaultdict(set)
    for event in events:
        positions[event["session_id"]].append(event["session_position"])
        users[event["session_id"]].add(event["user_id"])
    assert all(found == list(range(len(found))) for found in positions.values())
    assert all(len(found) == 1 for found in users.values())


@pytest.mark.parametrize("rate", [0.05, 5.0, 500.0])
def test_the_rate_is_kept_with_few_shoppers_and_with_many(rate: float) -> None:
    events = clicks(5000, rate=rate)
    assert 5000 / (events[-1]["ts_ms"] - START_MS) * 1000 == pytest.approx(rate, rel=0.06)


def test_shoppers_click_more_often_what_they_like() -> None:
    shop = Shop(seed=3, users=50)
    items = {item.item_id: item for item in shop.items}
    shoppers = {shop.shopper(n).user_id: shop.shopper(n) for n in range(50)}
    events = list(islice(shop.clicks(START_MS, 20.0), 30_000))
    seen = Counter((e["user_id"], e["item_id"]) for e in events if e["action"] == "view")
    clicked = Counter((e["user_id"], e["item_id"]) for e in events if e["action"] == "click")
    expected = sum(n * shoppers[user].click_probability(items[item]) for (user, item), n in seen.items())
    assert sum(clicked.values()) == pytest.approx(expected, rel=0.03)
    liked = [pair for pair in seen if shoppers[pair[0]].click_probability(items[pair[1]]) > 0.5]
    others = [pair for pair in seen if shoppers[pair[0]].click_probability(items[pair[1]]) < 0.2]
    rate_liked, rate_others = (
        sum(clicked[p] for p in pairs) / sum(seen[p] for p in pairs) for pairs in (liked, others)
    )
    assert rate_liked > 5 * rate_others


def test_click_probabilities_are_those_of_the_single_items() -> None:
    shop = Shop(seed=3, users=2)
    shopper = shop.shopper(1)
    for item in shop.items[:20]:
        assert shopper.click_probability(item) == pytest.approx(
            float(shopper.click_probabilities(item.vector[None])[0])
        )
        assert 0 < shopper.click_probability(item) < 1


def test_one_shopper_and_one_item_are_enough() -> None:
    events = list(islice(Shop(seed=1, users=1, items=1).clicks(START_MS, 1000.0), 500))
    assert {event["user_id"] for event in events} == {"shopper-0"}


def test_the_past_ends_before_now() -> None:
    events = list(islice(in_the_past(Shop(1, users=20), events=3000), 3000))
    assert events[-1]["ts_ms"] < time.time() * 1000


def test_real_time_is_kept() -> None:
    began_s = time.time()
    events = list(islice(in_real_time(Shop(1, users=100), rate=200.0), 200))
    assert 0.7 < time.time() - began_s < 2.0
    assert abs(events[-1]["ts_ms"] / 1000 - time.time()) < 0.5


@pytest.mark.parametrize(
    ("users", "rate", "message"), [(0, 1.0, "users must be > 0, got 0"), (1, -1.0, "rate must be > 0, got -1")]
)
def test_nonsense_is_refused(users: int, rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(Shop(1, users).clicks(0, rate))
