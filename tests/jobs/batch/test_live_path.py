"""Held-out events asked one by one, against plain loops."""

import math
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from headrace.infra.versions.rules import ItemRules
from headrace.jobs.batch.judging import live_path
from headrace.jobs.batch.judging.recommenders import LiveModel
from headrace.udfs.factors.confidence import ACTIONS, UNKNOWN, Events
from headrace.udfs.recommenders.contract import Lists, LiveScorer, Past

pytestmark = pytest.mark.spark  # what runs in the batch environment

ITEMS, HISTORY = 30, 5
TAKES = ("view", "click", "like", "share", "cart", "purchase", "rate")


def drawn(seed: int) -> tuple[Events, Any]:
    """Returns the events of eight users, some of them new, and which are held out: the newest of each."""
    rng = np.random.default_rng(seed)
    sizes, n = rng.integers(1, 40, 8), 0
    users = np.repeat(np.arange(8), sizes)
    n = len(users)
    items = np.where(rng.random(n) < 0.1, UNKNOWN, rng.integers(0, ITEMS, n))
    events = Events(users, items, rng.integers(0, len(ACTIONS), n), np.full(n, np.nan), np.arange(n))
    shares = rng.choice([0.0, 0.3, 1.0], 8)
    place = np.arange(n) - np.searchsorted(users, users)
    return events, place >= np.ceil((1 - shares[users]) * sizes[users])


def expected(events: Events, held: Any) -> list[tuple[int, int, list[int]]]:
    """Returns the user of each question, the item, and the times of the events that are known then."""
    found: list[tuple[int, int, list[int]]] = []
    for user in range(8):
        seen, asked = set[int](), 0
        own = np.flatnonzero(events.users == user).tolist()
        for at, row in enumerate(own):
            item, action = int(events.items[row]), ACTIONS[events.actions[row]]
            is_new = item != UNKNOWN and item not in seen
            if held[row] and is_new and action in TAKES and asked < live_path.QUESTIONS:
                found.append((user, item, own[max(0, at - HISTORY) : at]))
                asked += 1
            if action not in ("search", "ignore"):
                seen.add(item)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_each_is_asked_from_what_was_known_before_it(seed: int) -> None:
    events, held = drawn(seed)
    asked = live_path.questions(events, held, HISTORY)
    found = [
        (int(asked.owners[n]), int(asked.wanted[n]), asked.events.t_ms[asked.events.users == n].tolist())
        for n in range(len(asked.wanted))
    ]
    assert found == expected(events, held)


class Fixed:
    """Lists the same items for everybody of whom it knows an event."""

    def __init__(self, *items: int, knows: bool = True) -> None:
        self.items, self.knows = items, knows

    def lists(self, events: Events, users: int, k: int) -> Lists:
        known = np.bincount(events.users, minlength=users) > 0
        items = np.tile(np.array(self.items), (users, 1))
        return Lists(items, np.zeros(items.shape), known & self.knows)


def test_figures_by_hand() -> None:
    """Ann was known, and takes items 3 and 9; bob is new, and takes item 3 with nothing known, then item 1."""
    view = ACTIONS.index("view")
    events = Events(
        *(np.array(each) for each in ([0, 0, 0, 1, 1], [7, 3, 9, 3, 1], [view] * 5, [np.nan] * 5, range(5)))
    )
    held = np.array([False, True, True, True, True])
    every = {"popularity": Fixed(3, 4, knows=False), "m": Fixed(9, 3), "own_m": Fixed(3, 9)}
    rows = live_path.answered(live_path.questions(events, held, 50), every, ["ann", "bob"], np.array([1, 0]), 2)
    second = 1 / math.log2(3)
    assert rows["ndcg_m"].tolist() == pytest.approx([(second + 1) / 2, 1 / 2])  # bob's first list is the popular one
    assert rows["hit_rate_m"].tolist() == [1, 0.5]
    assert rows["ndcg_popularity"].tolist() == [0.5, 0.5]
    assert rows["is_new"].tolist() == [False, True]
    found = live_path.summary(rows, ["m"], ["popularity", "own_m"])
    assert (found["users"], found["new_users"], found["questions"]) == (2, 1, 4)
    ours = found["models"]["m"]
    assert ours["ndcg"]["value"] == pytest.approx(((second + 1) / 2 + 0.5) / 2)
    assert ours["new_ndcg"]["value"] == 0.5
    assert ours["against"]["popularity"]["value"] == pytest.approx(ours["ndcg"]["value"] - 0.5)
    assert ours["loss"] == pytest.approx(0)
    every["own_m"] = Fixed(3, 3)
    rows = live_path.answered(live_path.questions(events, held, 50), every, ["ann", "bob"], np.array([1, 0]), 2)
    apart = live_path.summary(rows, ["m"], ["popularity"], choosing=["bob"])
    assert (apart["users"], apart["new_users"], apart["questions"]) == (1, 0, 2)
    assert apart["choice"]["m"]["ndcg"] == 0.5
    assert apart["models"]["m"]["ndcg"]["value"] == pytest.approx((second + 1) / 2)
    worse = live_path.summary(rows.assign(ndcg_m=0.25 * rows["ndcg_own_m"]), ["m"], ["popularity"])
    assert worse["models"]["m"]["loss"] == pytest.approx(0.75)


class Witness:
    """Notes what it is told of the users."""

    items = ("a", "b")
    told: Events | None = None

    def lists(self, past: Past, k: int, allowed: Any) -> Lists:
        self.told = past.events
        return Lists(np.zeros((past.users, k), int), np.zeros((past.users, k)), np.ones(past.users, bool))


def test_the_stream_is_asked_without_what_it_does_not_know_of_a_user() -> None:
    one = np.zeros(1, int)
    events, witness = Events(one, one, one, np.full(1, np.nan), one, np.ones((1, 3), int)), Witness()
    model = LiveModel(cast(LiveScorer, witness), (1e12, 5.0), {"a": 0, "b": 1}, ItemRules())
    model.lists(events, 1, 1)
    assert witness.told is not None
    assert witness.told.features is None


def test_nothing_asked_is_told() -> None:
    columns = {
        "user_id": [],
        "is_new": np.empty(0, bool),
        "questions": np.empty(0, int),
        "ndcg_m": [],
        "ndcg_popularity": [],
    }
    found = live_path.summary(pd.DataFrame(columns), ["m"], [])
    assert (found["users"], found["models"]["m"]["loss"]) == (0, 0)
