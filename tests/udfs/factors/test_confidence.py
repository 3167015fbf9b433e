"""Strengths and seen items against a loop over docs/collaborative.md."""

import math
from typing import Any

import numpy as np
import pytest

from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, UNKNOWN, Events, Histories, histories, user_features

DAY_MS = 86_400_000
Did = tuple[int, int, str, float, int]  # user, item, action, rating, t_ms


def events(*did: Did) -> Events:
    users, items, actions, ratings, t_ms = zip(*did, strict=True) if did else ((),) * 5
    codes = [ACTIONS.index(action) for action in actions]
    whole: list[Any] = [np.array(column, np.int64) for column in (users, items, codes, t_ms)]
    return Events(whole[0], whole[1], whole[2], np.array(ratings, np.float64), whole[3])


def one(*did: tuple[Any, ...], half_life_ms: float = math.inf) -> tuple[dict[int, float], list[int]]:
    """Returns (strengths by item, seen) of user 0, whose events are (item, action, maybe t_ms, maybe rating)."""
    full = [(0, item, action, *(rest[1:] or (math.nan,)), *(rest[:1] or (0,))) for item, action, *rest in did]
    got = histories(events(*full), 1, 10, half_life_ms)
    return dict(zip(got.rows.columns.tolist(), got.rows.strengths.tolist(), strict=True)), got.seen.items.tolist()


def test_a_strength_has_a_bound() -> None:
    """50 purchases, and no more: not one below it, not one above."""
    for purchases, strength in ((49, 245.0), (50, 250.0), (51, 250.0), (20_000, 250.0)):
        assert one(*[(3, "purchase")] * purchases)[0] == {3: strength}


def by_the_page(did: list[Did], users: int, half_life_ms: float) -> tuple[list[dict[int, float]], list[set[int]]]:
    strengths, seen = [], []
    weights = {"view": 1.0, "click": 1.5, "like": 3.0, "share": 3.0, "cart": 4.0, "purchase": 5.0}
    for user in range(users):
        own = [event for event in did if event[0] == user]
        newest = max((event[4] for event in own), default=0)
        sums: dict[int, float] = {}
        for item in {event[1] for event in own} - {UNKNOWN}:
            mine = [(n, *event[2:]) for n, event in enumerate(own) if event[1] == item and event[2] != "search"]
            gone = set()
            for taken, returns in {"purchase": ("refund",), "cart": ("refund", "uncart")}.items():
                given = sorted((t, n) for n, action, _, t in mine if action == taken)
                returned = sum(action in returns for _, action, _, _ in mine)
                gone |= {n for _, n in given[max(0, len(given) - returned) :]}
            total = 0.0
            for n, action, rating, t in mine:
                weight = weights.get(action, 0.0)
                if action == "rate":
                    weight = 3.0 if math.isnan(rating) else 5.0 * min(rating, 5.0) / 5.0
                total += 0.0 if n in gone else weight * 2.0 ** (-(newest - t) / half_life_ms)
            refused = any(action in ("dislike", "block") for _, action, _, _ in mine)
            if total > 0 and not refused:
                sums[item] = total
        strengths.append(sums)
        seen.append({e[1] for e in own if e[2] not in ("search", "ignore") and e[1] != UNKNOWN})
    return strengths, seen


def random_events(rng: np.random.Generator, n: int, users: int, items: int) -> list[Did]:
    draw: list[list[Any]] = [rng.integers(0, users, n).tolist(), rng.integers(UNKNOWN, items, n).tolist()]
    draw += [rng.choice([*ACTIONS, "purchase", "purchase", "refund", "cart", "cart", "uncart"], n).tolist()]
    draw += [rng.choice([math.nan, 0.0, 2.5, 5.0, 8.0], n).tolist(), rng.integers(0, 9, n).tolist()]
    return [(u, i, a, r, t * DAY_MS) for u, i, a, r, t in zip(*draw, strict=True)]


def as_dicts(got: Histories, users: int) -> tuple[list[dict[int, float]], list[set[int]]]:
    rows, seen = got
    ends = zip(rows.indptr, rows.indptr[1:], strict=False)
    strengths = [dict(zip(rows.columns[a:b].tolist(), rows.strengths[a:b].tolist(), strict=True)) for a, b in ends]
    return strengths, [set(seen.items[seen.users == user].tolist()) for user in range(users)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("half_life_ms", [math.inf, 2 * DAY_MS])
def test_equals_the_page(seed: int, half_life_ms: float) -> None:
    did = random_events(np.random.default_rng(seed), 600, 31, 8)
    strengths, seen = as_dicts(histories(events(*did), 31, 8, half_life_ms), 31)
    expected, expected_seen = by_the_page(did, 31, half_life_ms)
    assert seen == expected_seen
    for got, wanted in zip(strengths, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-12)


def test_a_history_worked_by_hand() -> None:
    """Two days after the first view, with a half-life of one day."""
    strengths, seen = one(
        *((1, "view", 0), (2, "purchase", DAY_MS), (1, "click", 2 * DAY_MS), (3, "ignore", 0), (4, "search", 0)),
        half_life_ms=DAY_MS,
    )
    assert strengths == {1: 0.25 + 1.5, 2: 2.5}
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("action", "weight"), [("view", 1), ("click", 1.5), ("like", 3), ("share", 3), ("cart", 4), ("purchase", 5)]
)
def test_weights(action: str, weight: float) -> None:
    assert one((1, action)) == ({1: weight}, [1])


@pytest.mark.parametrize(("rating", "weight"), [(5.0, 5.0), (1.0, 1.0), (10.0, 5.0), (math.nan, 3.0)])
def test_ratings(rating: float, weight: float) -> None:
    assert one((1, "rate", 0, rating)) == ({1: weight}, [1])


def test_a_rating_of_zero_is_seen_and_not_wanted() -> None:
    assert one((1, "rate", 0, 0.0)) == ({}, [1])


@pytest.mark.parametrize("action", ["dislike", "block"])
def test_a_refusal_removes_the_item_whatever_else_happened(action: str) -> None:
    assert one((1, "purchase"), (1, action), (1, "like"), (2, "view")) == ({2: 1.0}, [1, 2])


def test_a_refund_takes_back_the_newest_purchase() -> None:
    did = (1, "purchase", 0), (1, "purchase", DAY_MS), (1, "refund", 3 * DAY_MS), (2, "view", 4 * DAY_MS)
    assert one(*did, half_life_ms=4 * DAY_MS)[0] == {1: 2.5, 2: 1.0}
    assert one((1, "refund"), (1, "purchase")) == ({}, [1])
    assert one((1, "refund"), (2, "purchase")) == ({2: 5.0}, [1, 2])


def test_an_uncart_takes_back_the_newest_cart_and_a_refund_the_cart_too() -> None:
    did = (1, "cart", 0), (1, "cart", DAY_MS), (1, "uncart", 3 * DAY_MS), (2, "view", 4 * DAY_MS)
    assert one(*did, half_life_ms=4 * DAY_MS)[0] == {1: 2.0, 2: 1.0}
    assert one((1, "cart"), (1, "purchase")) == ({1: 9.0}, [1])
    assert one((1, "cart"), (1, "purchase"), (1, "uncart")) == ({1: 5.0}, [1])
    assert one((1, "view"), (1, "cart"), (1, "purchase"), (1, "refund")) == ({1: 1.0}, [1])
    assert one((1, "uncart"), (1, "purchase"), (2, "cart")) == ({1: 5.0, 2: 4.0}, [1, 2])


def test_an_unknown_item_still_ages_the_others() -> None:
    assert one((1, "view", 0), (UNKNOWN, "view", DAY_MS), half_life_ms=DAY_MS) == ({1: 0.5}, [1])


def test_a_user_has_the_same_bits_in_every_batch() -> None:
    did = random_events(np.random.default_rng(9), 500, 20, 6)
    batch = histories(events(*did), 20, 6, 3.3 * DAY_MS).rows
    for user in range(20):
        alone = histories(events(*[(0, *event[1:]) for event in did if event[0] == user]), 1, 6, 3.3 * DAY_MS).rows
        assert alone.strengths.tobytes() == batch.strengths[batch.indptr[user] : batch.indptr[user + 1]].tobytes()


def test_nobody() -> None:
    got = histories(events(), 2, 5, math.inf)
    assert (got.rows.indptr.tolist(), got.rows.columns.tolist(), got.seen.items.tolist()) == ([0, 0, 0], [], [])


def test_wrong_parameters() -> None:
    with pytest.raises(ValueError, match="half_life_ms must be > 0, got 0"):
        histories(events(), 1, 1, 0)
    with pytest.raises(ValueError, match="rating_max must be > 0, got -1"):
        histories(events(), 1, 1, 1, -1)


def test_of_a_user_the_last_that_an_event_says_is_known() -> None:
    given = events(*((user, 0, "view", math.nan, n) for n, user in enumerate([0, 0, 0, 2, 2])))
    said = np.array([[7, NO_FEATURE], [8, 5], [NO_FEATURE, NO_FEATURE], [NO_FEATURE, 3], [NO_FEATURE, 4]])
    assert user_features(given._replace(features=said), 3).tolist() == [
        [8, 5],
        [NO_FEATURE, NO_FEATURE],
        [NO_FEATURE, 4],
    ]
    assert user_features(given._replace(features=said).where(np.arange(3)), 1).tolist() == [[8, 5]]
    assert user_features(given, 3).shape == (3, 0)
