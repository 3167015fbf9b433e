"""The laws of a recommender (udfs/recommenders/contract.py), for whoever writes a family: `check` asks all of them.

Each is asked with drawn histories: some users know little, one knows nothing, one has seen everything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.udfs.factors.als import Int
from headrace.udfs.factors.confidence import ACTIONS, UNKNOWN, Events
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders import contract
from headrace.udfs.recommenders.contract import LiveScorer, Past, Recommender

USERS, K = 12, 6
STRENGTH = (1e12, 5.0)  # half_life_ms, rating_max
VIEW = ACTIONS.index("view")
LAWS: list[Callable[[Recommender], None]] = []


def law(check: Callable[[Recommender], None]) -> Callable[[Recommender], None]:
    LAWS.append(check)
    return check


def past(items: int, histories: Sequence[Sequence[int]]) -> Past:
    """Returns what is known of users who viewed these items, in order."""
    users = np.repeat(np.arange(len(histories)), [len(each) for each in histories])
    flat = np.array([item for each in histories for item in each], np.int64)
    n = len(flat)
    events = Events(users, flat, np.full(n, VIEW), np.full(n, np.nan), np.arange(n))
    return contract.past(events, len(histories), items, *STRENGTH)


def drawn(items: int, seed: int = 1) -> list[list[int]]:
    """Returns histories: the first is empty, the second of an unknown item, the last of all items."""
    rng = np.random.default_rng(seed)
    some = [rng.permutation(items)[: 1 + n % max(items // 2, 1)].tolist() for n in range(USERS - 3)]
    return [[], [UNKNOWN], *some, list(range(items))]


def every(model: LiveScorer) -> Int:
    return np.arange(len(model.items))


@law
def lists_are_in_order_and_hold_what_they_may(model: Recommender) -> None:
    m = len(model.items)
    asked, allowed = past(m, drawn(m)), every(model)[::2]
    found = model.lists(asked, K, allowed)
    assert found.items.shape == found.scores.shape == (USERS, K)
    for user in range(USERS):
        items = found.items[user][found.items[user] != NONE].tolist()
        scores = found.scores[user][: len(items)].tolist()
        assert (found.items[user][len(items) :] == NONE).all()
        assert np.isneginf(found.scores[user][len(items) :]).all()
        assert len(set(items)) == len(items)
        assert set(items) <= set(allowed.tolist())
        assert not set(items) & set(asked.seen.items[asked.seen.users == user].tolist())
        pairs = list(zip(scores, items, strict=True))
        assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1])), f"user {user}: {pairs}"
        assert bool(found.known[user]) or not items
        assert np.isfinite(scores).all()


@law
def scores_are_those_of_the_lists(model: Recommender) -> None:
    m = len(model.items)
    asked = past(m, drawn(m))
    found = model.lists(asked, K, every(model))
    scores = model.score(asked, np.where(found.items == NONE, 0, found.items))
    listed = found.items != NONE
    np.testing.assert_allclose(scores[listed], found.scores[listed], rtol=1e-9, atol=1e-12)


@law
def no_item_that_is_left_out_scores_higher(model: Recommender) -> None:
    m = len(model.items)
    asked = past(m, drawn(m))
    found, scores = model.lists(asked, K, every(model)), model.score(asked, np.tile(every(model), (USERS, 1)))
    for user in range(USERS):
        gone = {*found.items[user].tolist(), *asked.seen.items[asked.seen.users == user].tolist()}
        rest = [scores[user, item] for item in range(m) if item not in gone]
        full = (found.items[user] != NONE).all()
        if full and rest:
            assert max(rest) <= found.scores[user].min() + 1e-9


@law
def an_answer_depends_on_nobody_else(model: Recommender) -> None:
    m = len(model.items)
    histories = drawn(m)
    together = model.lists(past(m, histories), K, every(model))
    why = model.explain(past(m, histories), together.items)
    for order in (list(range(USERS))[::-1], [3], [5, 4]):
        some = past(m, [histories[user] for user in order])
        alone = model.lists(some, K, every(model))
        np.testing.assert_array_equal(alone.items, together.items[order])
        np.testing.assert_array_equal(alone.scores, together.scores[order])
        np.testing.assert_array_equal(model.explain(some, alone.items), why[order])


@law
def nothing_is_known_of_nobody(model: Recommender) -> None:
    """Nor of who took an item that the model does not know. A family that knows everybody answers for both."""
    m = len(model.items)
    found = model.lists(past(m, [[], [UNKNOWN], []]), K, every(model))
    assert found.known.all() or not found.known.any()
    if not found.known.any():
        assert (found.items == NONE).all()


@law
def who_has_seen_all_gets_nothing(model: Recommender) -> None:
    m = len(model.items)
    assert (model.lists(past(m, [list(range(m))]), K, every(model)).items == NONE).all()


@law
def nothing_allowed_is_nothing_listed(model: Recommender) -> None:
    m, none = len(model.items), np.empty(0, np.int64)
    assert (model.lists(past(m, drawn(m)), K, none).items == NONE).all()
    assert (model.similar(every(model), K, none).items == NONE).all()


@law
def more_than_there_is_may_be_asked_for(model: Recommender) -> None:
    m = len(model.items)
    found = model.lists(past(m, drawn(m)), m + 5, every(model))
    assert found.items.shape == (USERS, m + 5)
    assert model.similar(every(model), m + 5, every(model)).items.shape == (m, m + 5)


@law
def a_reason_is_of_what_the_user_took(model: Recommender) -> None:
    m = len(model.items)
    asked = past(m, drawn(m))
    found = model.lists(asked, K, every(model))
    why = model.explain(asked, found.items)
    assert why.shape == found.items.shape
    assert (why[found.items == NONE] == NONE).all()
    for user in range(USERS):
        own = asked.rows.columns[asked.rows.indptr[user] : asked.rows.indptr[user + 1]].tolist()
        assert set(why[user].tolist()) <= {NONE, *own}


@law
def similar_items_are_others_in_order(model: Recommender) -> None:
    found = model.similar(every(model), K, every(model)[::2])
    for item in range(len(model.items)):
        alike = found.items[item][found.items[item] != NONE].tolist()
        assert item not in alike
        assert len(set(alike)) == len(alike)
        assert all(other % 2 == 0 for other in alike)
        scores = found.scores[item][: len(alike)]
        assert (np.diff(scores) <= 0).all()
        assert (scores > 0).all()


@law
def vectors_make_the_scores(model: Recommender) -> None:
    """Scores of a family with vectors lie in the span of the items' vectors."""
    vectors = model.vectors()
    if vectors is None:
        return
    m = len(model.items)
    assert vectors.shape[0] == m
    scores = model.score(past(m, drawn(m)), np.tile(every(model), (USERS, 1)))
    V: Any = vectors.astype(np.float64)
    solved = np.linalg.lstsq(V, scores.T, rcond=None)[0]
    np.testing.assert_allclose(V @ solved, scores.T, atol=1e-4 * (1 + np.abs(scores).max()))


@law
def it_is_sound(model: Recommender) -> None:
    assert model.sound() == []


def check(model: Recommender) -> None:
    """Raises AssertionError for the first law that the model breaks."""
    for each in LAWS:
        each(model)


def same(model: Recommender, live: LiveScorer) -> None:
    """Raises AssertionError unless the live scorer answers as the model does."""
    m = len(model.items)
    asked = past(m, drawn(m))
    ours, theirs = model.lists(asked, K, every(model)), live.lists(asked, K, every(model))
    np.testing.assert_array_equal(ours.items, theirs.items)
    np.testing.assert_array_equal(model.explain(asked, ours.items), live.explain(asked, theirs.items))
