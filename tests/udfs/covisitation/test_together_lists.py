"""Packed counts to lists, worked by hand."""

import json
import math
import struct
from collections.abc import Collection

import pytest

from headrace.udfs.covisitation import together_lists
from headrace.udfs.covisitation.counts import ByBucket
from headrace.udfs.covisitation.together_lists import ListRules, Other

RULES = ListRules(n=2, half_life=2.0, horizon=5, shrink=1.0)
VIEWED, BOUGHT, TOUCHED = range(3)


def packed(*others: Other) -> bytes:
    found = b""
    for item, newest, users, both in others:
        name = item.encode()
        rest = struct.pack("<id", newest, users) + b"".join(struct.pack("<ii", *cell) for cell in both.items())
        found += struct.pack("<HH", len(name), len(rest)) + name + rest
    return found


def entries(kind: int, *others: Other, bucket: int = 2, forbidden: Collection[str] = ()) -> list[tuple[str, float]]:
    made = together_lists.listed(kind, "lamp", packed(*others), bucket, 7, RULES, lambda item: item in forbidden)
    return [(entry["item"], entry["score"]) for entry in json.loads(made or b'{"items": []}')["items"]]


def test_decoded_as_packed() -> None:
    others = [Other("lamp", 20_000, 1.75, {19_999: 1, 20_000: 3}), Other("Möbel\U0001f600", -(2**31), 0.0, {1: 2})]
    assert list(together_lists.decode(packed(*others))) == others
    assert list(together_lists.decode(b"")) == []


def test_a_list_by_hand() -> None:
    """As of bucket 4: a half-life after the lamp's total, and before the one that the bulb's is written in."""
    lamp, bulb, wick = Other("lamp", 2, 6.0, {2: 6}), Other("bulb", 6, 4.0, {2: 4}), Other("wick", 4, 1.0, {2: 2})
    bulb_score, wick_score = 2 / math.sqrt((3 + 1) * (8 + 1)), 1 / math.sqrt((3 + 1) * (1 + 1))
    found = entries(VIEWED, lamp, wick, bulb, bucket=4)
    assert found == [("wick", round(wick_score, 7)), ("bulb", round(bulb_score, 7))]
    made = together_lists.listed(BOUGHT, "lamp", packed(lamp, Other("bulb", 2, 6.0, {2: 6})), 2, 7, RULES)
    reasoned = {"item": "bulb", "score": 0.8571429, "reason": "lamp"}
    assert json.loads(made or b"") == {"version": "", "as_of_ms": 7, "items": [reasoned]}


def test_trending_by_hand() -> None:
    held: dict[str, ByBucket] = {"a": {4: 2}, "b": {5: 1, 3: 2}, "c": {5: 1}, "old": {0: 100}}
    others = [Other(item, -(2**31), 0.0, both) for item, both in held.items()]
    assert entries(TOUCHED, *others, bucket=5) == [("b", 2.0), ("a", round(2 * 2**-0.5, 7))]
    made = together_lists.listed(TOUCHED, "", packed(others[0]), 6, 7, RULES)
    assert json.loads(made or b"")["items"] == [{"item": "a", "score": 1.0, "reason": None}]


def test_what_is_forbidden_leaves_its_place_to_the_next() -> None:
    lamp, bulb = Other("lamp", 2, 3.0, {2: 3}), Other("bulb", 2, 8.0, {2: 3})
    others = [lamp, Other("wick", 2, 1.0, {2: 2}), bulb, Other("rug", 2, 1.0, {2: 1})]
    every, less = entries(VIEWED, *others), entries(VIEWED, *others, forbidden={"bulb", "nowhere"})
    assert [item for item, _ in every] == ["wick", "bulb"]
    assert less == [every[0], ("rug", round(1 / math.sqrt((3 + 1) * (1 + 1)), 7))]
    assert entries(VIEWED, *others, forbidden={"lamp"}) == every  # the list of an item that is in none
    touched = [Other(item, -(2**31), 0.0, {2: n}) for n, item in zip((4, 3, 2, 1), "dcba", strict=True)]
    assert entries(TOUCHED, *touched, forbidden={"d", "b"}) == [("c", 3.0), ("a", 1.0)]
    assert entries(TOUCHED, *touched, forbidden=set("abcd")) == []


@pytest.mark.parametrize("kind", [VIEWED, BOUGHT, TOUCHED])
def test_nothing_is_no_list(kind: int) -> None:
    assert together_lists.listed(kind, "lamp", b"", -(2**31), 7, RULES) is None
    if kind != TOUCHED:
        assert together_lists.listed(kind, "lamp", packed(Other("lamp", 2, 6.0, {2: 6})), 2, 7, RULES) is None
        beyond = packed(Other("lamp", 9, 6.0, {9: 6}), Other("bulb", 2, 1.0, {2: 1}))
        assert together_lists.listed(kind, "lamp", beyond, 9, 7, RULES) is None


def test_equal_scores_come_by_item() -> None:
    """Also when what the JVM takes for equal comes last, and whatever ranks below is not looked at."""
    others = [Other(item, 2, 1.0, {2: 1}) for item in ("lamp", "c", "b", "a")]
    assert [item for item, _ in entries(VIEWED, *others)] == ["a", "b"]
    lower, hidden = Other("0", 2, 9.0, {2: 1}), Other("1", 2, 1.0, {2: 1})
    assert [item for item, _ in entries(VIEWED, *others, lower, hidden)] == ["a", "b"]
