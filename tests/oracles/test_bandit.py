"""The bandit's oracle, on a case worked by hand from docs/bandit.md."""

import json
from types import SimpleNamespace
from typing import Any

from tests.oracles.bandit import Oracle, unpack

T0 = 1_762_000_000_000
RULES: Any = SimpleNamespace(
    reward_delay_ms=300_000, fast_ms=10_000, fast_factor=1.2, first_factor=1.1, ridge=1.0, half_life_ms=0,
    periods_kept=8, rewards={"click": 1.0, "cart": 5.0, "purchase": 10.0, "dislike": -1.0},
)  # fmt: skip
SHOWN = {
    "impression_id": "s", "user_id": "u", "surface": "home", "item_id": "i", "position": 0, "policy": "linucb",
    "model_version": "v", "context": [1, 0.3], "propensity": 0.5, "ts_ms": T0,
}  # fmt: skip
CLICK = {"event_id": "e", "user_id": "u", "item_id": "i", "impression_id": "s", "action": "click", "ts_ms": T0 + 4_000}
FAST = 4915 / 4096  # round(1.2)
X = 1229 / 4096  # round(0.3)


def record(value: dict[str, Any], offset: int = 0) -> Any:
    return SimpleNamespace(
        partition=0, offset=offset, timestamp=T0 + 1_000_000 + offset, key=b"u", value=json.dumps(value).encode()
    )


def after(*clicks: dict[str, Any], rules: Any = RULES) -> Oracle:
    oracle = Oracle(rules, 300_000, 2, "e1")
    return oracle.feed([record(SHOWN)], [record(CLICK | click, n) for n, click in enumerate(clicks)])


def test_a_fast_click() -> None:
    arm = after({}).statistics()["linucb", "i"]
    assert arm.A == [[1, X], [X, X * X]]
    assert arm.b == [FAST, FAST * X]
    assert (arm.n, arm.as_of_ms) == (1, T0 + 1_000_000)
    assert unpack(arm.packed()) == (arm.A, arm.b, 1)


def test_the_lowest_counts_if_any_is_negative_and_a_refund_takes_the_purchase() -> None:
    key = ("u", "s", "i")
    assert after().reward(key) == 0
    assert after({"action": "purchase"}, {"action": "dislike"}).reward(key) == -1
    assert after({"action": "purchase"}, {}, {"action": "refund"}).reward(key) == FAST
    cart, uncart = {"action": "cart"}, {"action": "uncart"}
    assert after(cart).reward(key) == 6
    assert after(uncart, {}, cart).reward(key) == FAST
    assert after(uncart, cart, {"action": "purchase"}).reward(key) == 12
    assert after(cart, {"action": "purchase"}, {"action": "refund"}).reward(key) == 0
    dear = SimpleNamespace(**vars(RULES) | {"rewards": {"cart": 8.0, "purchase": 1.0}})
    assert after(uncart, cart, {"action": "purchase"}, rules=dear).reward(key) == after(cart, rules=dear).reward(key)
    assert after(uncart, cart, rules=dear).reward(key) == 0
    assert after({"ts_ms": T0 + 10_001}).reward(key) == 1
    assert after({"ts_ms": T0 + 300_000}).reward(key) == 1
    assert after({"ts_ms": T0 + 300_001}, {"item_id": "another"}).reward(key) == 0


def test_the_brokers_clock_counts_where_the_clients_say_that_feedback_came_before_its_impression() -> None:
    def slow(arrived_ms: int) -> float:
        oracle = Oracle(RULES, 300_000, 2, "e1")
        click = CLICK | {"ts_ms": T0 - 5_000, "action": "purchase"}
        return oracle.feed([record(SHOWN)], [record(click, arrived_ms)]).reward(("u", "s", "i"))

    assert [slow(ms) for ms in (-1, 0, 10_000, 10_001, 300_000, 300_001)] == [0, 12, 12, 10, 10, 0]


def test_an_older_period_weighs_half_and_what_is_older_still_is_forgotten() -> None:
    rules = SimpleNamespace(**vars(RULES) | {"half_life_ms": 1_000, "periods_kept": 2})
    shown = [SHOWN | {"impression_id": f"s{n}", "ts_ms": T0 + 1_000 * n} for n in range(3)]
    oracle = Oracle(rules, 300_000, 2, "e1").feed([record(each, n) for n, each in enumerate(shown)], [])
    arm = oracle.statistics()["linucb", "i"]
    assert (arm.n, arm.A[0][0], arm.as_of_ms) == (1.5, 1.5, T0 + 1_000_002)
