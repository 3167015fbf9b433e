"""Live lists: a case known by construction, the same bytes in any batch, and the oracle's direct solves."""

import json
import random
from typing import Any

import numpy as np
import pytest

from headrace.udfs.factors import als
from headrace.udfs.history import EVENT
from headrace.udfs.recommenders import live_lists
from headrace.udfs.recommenders.als_scorer import AlsScorer
from headrace.udfs.recommenders.live_lists import Serving
from tests.oracles import collaborative
from tests.oracles.collaborative import Acted, Moment, Version

DAY_MS = 86_400_000
AS_OF_MS = 1_763_000_000_000
PARAMETERS = {"half_life_ms": 30.0 * DAY_MS, "rating_max": 5.0}


def packed(events: tuple[Acted, ...]) -> bytes:
    rows = []
    for event in events:
        rating = event.rating if event.action == "rate" else None
        item = live_lists.named(event.item, rating).encode() if event.item else b""
        action = live_lists.ACTIONS.index(event.action)
        rows.append(EVENT.pack(EVENT.size - 2 + len(item), 7, event.t, 1, 0, action) + item)
    return b"".join(rows)


def made(objective: als.Objective, seed: int = 1, items: int = 60, factors: int = 6) -> tuple[Serving, Version]:
    rng = np.random.default_rng(seed)
    Y = (rng.normal(size=(items, factors)) / np.sqrt(factors)).astype(np.float32)
    names = [f"i{n:02d}:é" for n in range(items)]
    serving = live_lists.serving("v1", AlsScorer(names, Y, objective), PARAMETERS)
    places = {name: n for n, name in enumerate(names)}
    return serving, Version("v1", places, Y.astype(np.float64), *objective, *PARAMETERS.values())


def histories(users: int, items: list[str], seed: int = 2) -> list[tuple[Acted, ...]]:
    rng = random.Random(seed)
    found = []
    for _ in range(users):
        own = rng.sample(items, 12)
        found.append(tuple(acted(rng, own) for _ in range(rng.randrange(51))))
    return [events for events in found if events]


def acted(rng: random.Random, own: list[str]) -> Acted:
    action = rng.choice(live_lists.ACTIONS)
    item = "" if action == "search" else rng.choice([*own, "unknown"])
    rating = rng.choice([None, 0.0, 0.5, 4.5, 5.0, 9.0]) if action == "rate" else None
    return Acted(item, action, AS_OF_MS - rng.randrange(60 * DAY_MS), rating)


def of(serving: Serving, *events: tuple[Acted, ...], n: int = 20) -> list[Any]:
    found = live_lists.lists(serving, [packed(each) for each in events], [AS_OF_MS + i for i in range(len(events))], n)
    return [None if each is None else json.loads(each) for each in found]


OBJECTIVES = {"ials": als.ials(alpha=2.0, reg=0.05, unobserved=0.3), "hu": als.hu(alpha=3.0, reg=0.7)}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_lists_equal_direct_solves(objective: als.Objective) -> None:
    serving, version = made(objective)
    events = histories(150, [*serving.items])
    for at, (each, listed) in enumerate(zip(events, of(serving, *events), strict=True)):
        assert collaborative.wrong(version, Moment(AS_OF_MS + at, each), listed, 20) == []


def test_two_tastes_by_hand() -> None:
    """Items of two orthogonal kinds: whoever likes one gets the rest of its kind first, because of what they liked."""
    Y = np.array([[1, 0], [1, 0], [0.5, 0], [0, 1], [0, 1]], np.float32)
    serving = live_lists.serving("v", AlsScorer(list("abcde"), Y, als.hu(1.0, 1.0)), PARAMETERS)
    (listed,) = of(serving, (Acted("a", "click", AS_OF_MS, None),), n=3)
    # A = diag(2.25 + 1.5 + 1, ...), b = (2.5, 0): x = 2.5 / 4.75
    assert listed == {
        "version": "v",
        "as_of_ms": AS_OF_MS,
        "items": [
            {"item": "b", "score": round(2.5 / 4.75, 7), "reason": "a"},
            {"item": "c", "score": round(1.25 / 4.75, 7), "reason": "a"},
            {"item": "d", "score": 0.0, "reason": None},
        ],
    }


def test_the_batch_changes_no_byte() -> None:
    serving, _ = made(OBJECTIVES["ials"], items=300, factors=16)
    recents = [packed(each) for each in histories(200, [*serving.items], seed=3)]
    as_of_ms = [AS_OF_MS + n for n in range(len(recents))]
    together = live_lists.lists(serving, recents, as_of_ms, 20)
    alone = [live_lists.lists(serving, [recent], [at], 20)[0] for recent, at in zip(recents, as_of_ms, strict=True)]
    assert together == alone


def test_nothing_known_is_no_list() -> None:
    serving, _ = made(OBJECTIVES["ials"])
    item = serving.items[0]
    empty = [
        (Acted("", "search", 1, None),),
        (Acted("unknown", "purchase", 1, None),),
        (Acted(item, "like", 1, None), Acted(item, "block", 2, None)),
        (Acted(item, "purchase", 1, None), Acted(item, "refund", 2, None)),
    ]
    listed = of(serving, *empty[:2], (Acted(item, "like", 1, None),), *empty[2:])
    assert [each is None for each in listed] == [True, True, False, True, True]
    assert of(serving, *empty) == [None] * 4


def test_all_seen_is_no_list() -> None:
    serving, _ = made(OBJECTIVES["ials"], items=3)
    assert of(serving, tuple(Acted(item, "view", 1, None) for item in serving.items)) == [None]


@pytest.mark.parametrize(("item", "rating"), [(":", None), ("a:b", 4.5), ("", 1e-7), ("4:", 0.0)])
def test_an_item_with_a_colon_keeps_it(item: str, rating: float | None) -> None:
    name = live_lists.named(item, rating)
    before, colon, after = name.partition(":")
    assert colon + after == live_lists.named(item, None)
    assert (float(before) if before else None) == rating


def test_what_is_left_out_is_in_no_list_and_changes_nothing_else() -> None:
    objective = als.ials(alpha=2.0, reg=0.02, unobserved=0.2)
    whole, _ = made(objective)
    left_out = whole.items[:30:2]
    less = live_lists.serving("v1", whole.scorer, PARAMETERS, left_out)
    users = histories(40, [*whole.items])
    for every, some in zip(of(whole, *users, n=60), of(less, *users, n=60), strict=True):
        if every is not None:
            assert some["items"] == [entry for entry in every["items"] if entry["item"] not in left_out]
    nothing = live_lists.serving("v1", whole.scorer, PARAMETERS, whole.items)
    assert of(nothing, *users) == [None] * len(users)
