"""Packed scores to lists, worked by hand."""

import json
import struct
from collections.abc import Collection

import pytest

from headrace.udfs.covisitation import together_lists

VIEWED, BOUGHT, TOUCHED = range(3)


def packed(**scores: float) -> bytes:
    return b"".join(struct.pack("<dH", score, len(name.encode())) + name.encode() for name, score in scores.items())


def entries(norm: float, forbidden: Collection[str] = (), **scores: float) -> list[tuple[str, float]]:
    made = together_lists.listed(VIEWED, "lamp", packed(**scores), norm, 7, 2, lambda item: item in forbidden)
    return [(entry["item"], entry["score"]) for entry in json.loads(made or b'{"items": []}')["items"]]


def test_decoded_as_packed() -> None:
    scores = {"lamp": 1.75, "Möbel\U0001f600": 1e-300}
    assert dict(together_lists.decode(packed(**scores))) == scores
    assert list(together_lists.decode(b"")) == []


def test_a_list_by_hand() -> None:
    assert entries(2.0, wick=3.0, bulb=1 / 3, rug=0.1) == [("wick", 1.5), ("bulb", 0.1666667)]
    made = together_lists.listed(BOUGHT, "lamp", packed(bulb=6 / 7**0.5), 7**0.5, 7, 2)
    reasoned = {"item": "bulb", "score": 0.8571429, "reason": "lamp"}
    assert json.loads(made or b"") == {"version": "", "as_of_ms": 7, "items": [reasoned]}


def test_trending_by_hand() -> None:
    made = together_lists.listed(TOUCHED, "", packed(b=2.0, a=2**0.5), 1.0, 7, 20)
    items = [{"item": "b", "score": 2.0, "reason": None}, {"item": "a", "score": 1.4142136, "reason": None}]
    assert json.loads(made or b"")["items"] == items


def test_what_is_forbidden_leaves_its_place_to_the_next() -> None:
    scores = {"wick": 3.0, "bulb": 2.0, "rug": 1.0}
    assert entries(1.0, {"bulb", "nowhere"}, **scores) == [("wick", 3.0), ("rug", 1.0)]
    assert entries(1.0, {"lamp"}, **scores) == [("wick", 3.0), ("bulb", 2.0)]  # the list of an item that is in none
    assert entries(1.0, set(scores), **scores) == []


@pytest.mark.parametrize("kind", [VIEWED, BOUGHT, TOUCHED])
def test_nothing_is_no_list(kind: int) -> None:
    assert together_lists.listed(kind, "lamp", b"", 1.0, 7, 2) is None
