"""Rewards against values worked by hand and a loop that follows docs/bandit.md again."""

import random
from fractions import Fraction
from math import floor, inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schemas import enum
from headrace.udfs.bandit import reward
from headrace.udfs.bandit.reward import Feedback, RewardRule

RULE = RewardRule()
WORTH = {"click": 1, "view": 0.5, "like": 2, "share": 3, "cart": 5, "purchase": 10, "dislike": -1, "block": -5}
EDGES_MS = [-1, 0, 9_999, 10_000, 10_001, 299_999, 300_000, 300_001]
EVENTS = st.builds(
    Feedback,
    st.sampled_from(enum("click", "action")),
    st.sampled_from(EDGES_MS) | st.integers(-10, 400_000),
    st.sampled_from([None, 0, 1, 7]),
)


def worth(event: Feedback) -> Fraction:
    value = Fraction(WORTH.get(event.action, 0))
    if value > 0:
        value *= Fraction("1.2") if event.elapsed_ms <= 10_000 else 1
        value *= Fraction("1.1") if event.session_position == 0 else 1
    return Fraction(floor(value * 4096 + Fraction(1, 2)), 4096)


def expected(events: list[Feedback]) -> Fraction:
    in_time = [event for event in events if 0 <= event.elapsed_ms <= 300_000]
    did = {event.action for event in in_time}
    left_out: set[str] = {"purchase", "cart"} if "refund" in did else set()
    left_out |= {"cart"} if "uncart" in did and "purchase" not in did else set()
    rewards = [worth(event) for event in in_time if event.action not in left_out]
    negative = [r for r in rewards if r < 0]
    return min(negative) if negative else max(rewards, default=Fraction(0))


@pytest.mark.parametrize(
    ("events", "value"),
    [
        ([], 0),
        ([("view", 20_000, 3)], 0.5),
        ([("view", 20_000, 3), ("click", 20_001, 4)], 1),
        ([("purchase", 10_000, 0)], 13.199951171875),  # 13.2, of which 54067 / 4096 is nearest
        ([("purchase", 10_001, 0)], 11),
        ([("purchase", 10_001, None)], 10),
        ([("share", 300_000, 1)], 3),
        ([("share", 300_001, 1)], 0),
        ([("share", -1, 1)], 0),
        ([("purchase", 50_000, 1), ("dislike", 60_000, 2)], -1),
        ([("dislike", 1, 0), ("block", 60_000, 2)], -5),
        ([("dislike", 1, 0)], -1),  # no factor on what is negative
        ([("click", 20_000, 1), ("purchase", 50_000, 2), ("refund", 60_000, 3)], 1),
        ([("purchase", 50_000, 2), ("refund", 300_001, 3)], 10),
        ([("cart", 20_000, 1)], 5),
        ([("cart", 5_000, 0)], 6.60009765625),  # 6.6, of which 27034 / 4096 is nearest
        ([("click", 20_000, 1), ("cart", 30_000, 2), ("uncart", 40_000, 3)], 1),
        ([("cart", 30_000, 2), ("uncart", 300_001, 3)], 5),
        ([("cart", 30_000, 2), ("purchase", 40_000, 3), ("uncart", 50_000, 4)], 10),
        ([("view", 20_000, 1), ("cart", 30_000, 2), ("purchase", 40_000, 3), ("refund", 50_000, 4)], 0.5),
        ([("uncart", 5, 1)], 0),
        ([("ignore", 5, 1), ("rate", 5, 1), ("search", 5, 1), ("refund", 5, 1)], 0),
    ],
)
def test_by_hand(events: list[tuple[str, int, int | None]], value: float) -> None:
    assert reward.impression([Feedback(*event) for event in events], RULE) == value


@given(st.lists(EVENTS, max_size=8))
def test_is_the_rule_spelled_out(events: list[Feedback]) -> None:
    assert reward.impression(events, RULE) == expected(events)


@given(st.lists(EVENTS, max_size=6), st.integers(0, 1000))
def test_order_and_repeats_change_nothing(events: list[Feedback], seed: int) -> None:
    chance = random.Random(seed)
    shuffled = events + [event for event in events if chance.random() < 0.5]
    chance.shuffle(shuffled)
    assert reward.impression(shuffled, RULE) == reward.impression(events, RULE)


@given(st.lists(EVENTS, min_size=1, max_size=8), st.sampled_from([None, nan]))
def test_columns_give_the_same(events: list[Feedback], absent: Any) -> None:
    actions, elapsed, positions = zip(*events, strict=True)
    place = [absent if p is None else p for p in positions]
    column = reward.feedbacks(actions, elapsed, place, RULE)
    assert column.tolist() == [reward.feedback(event, RULE) for event in events]
    # What a GROUP BY keeps, the impression itself counting 0.
    seen = [(a, r) for a, r, c in zip(actions, column, reward.counts(elapsed, RULE), strict=True) if c] + [("", 0.0)]
    lowest, highest = min(r for _, r in seen), max(r for _, r in seen)
    kept = max(r for a, r in seen if a not in ("purchase", "cart"))
    did = {a for a, _ in seen}
    returned = "refund" in did or ("uncart" in did and "purchase" not in did)
    (grouped,) = reward.impressions([lowest], [kept], [highest], [returned])
    assert grouped == reward.impression(events, RULE)


def test_another_rule() -> None:
    rule = RewardRule({"click": 2.0, "ignore": -0.25}, fast_ms=0, fast_factor=3.0, first_factor=1.0, reward_delay_ms=5)
    assert [reward.impression([Feedback("click", t, 0)], rule) for t in (0, 1, 5, 6)] == [6, 2, 2, 0]
    assert reward.impression([Feedback("purchase", 0, 0), Feedback("ignore", 0, 0)], rule) == -0.25


def test_what_was_bought_has_left_the_cart_otherwise() -> None:
    rule = RewardRule({"cart": 8.0, "purchase": 1.0})
    did = [Feedback(action, 20_000, 1) for action in ("cart", "purchase", "uncart")]
    assert reward.impression(did, rule) == 8
    assert reward.impression([did[0], did[2]], rule) == 0


def test_the_table_lists_every_reward() -> None:
    table = RULE.table
    for code, action in enumerate(enum("click", "action")):
        for fast, first in np.ndindex(2, 2):
            event = Feedback(action, 0 if fast else 20_000, 0 if first else 1)
            assert table[code, fast, first] == worth(event)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"values": {"clik": 1.0}}, "values must name actions of schemas/click.avsc, got 'clik'"),
        ({"values": {"purchase": -1.0}}, r"values\[purchase\] must be finite and >= 0, got -1.0"),
        ({"values": {"cart": -0.5}}, r"values\[cart\] must be finite and >= 0, got -0.5"),
        ({"values": {"share": 14.0}}, r"values\[share\]: rewards must lie within \[-16, 16\], got 18.48"),
        ({"values": {"block": -16.5}}, r"values\[block\]: .* got -16.5"),
        ({"values": {"like": nan}}, r"values\[like\]: .* got nan"),
        ({"fast_ms": -1}, "fast_ms must be finite and >= 0, got -1"),
        ({"first_factor": inf}, "first_factor must be finite and >= 0, got inf"),
        ({"reward_delay_ms": -5}, "reward_delay_ms must be finite and >= 0, got -5"),
    ],
)
def test_a_rule_must_make_sense(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardRule(**rule)
