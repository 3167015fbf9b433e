"""The user tower in numpy: one case by hand, its reasons, its bits in every batch, and what is not sound."""

import numpy as np
import pytest

from headrace.udfs.factors.als import Real
from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, UNKNOWN, Events
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders.contract import Past, past
from headrace.udfs.recommenders.tower_scorer import TowerScorer, UserTower

VIEW, PURCHASE = ACTIONS.index("view"), ACTIONS.index("purchase")
M, F, BUCKETS, WIDTH = 40, 8, 5, 16


def known(*users: list[tuple[int, int]], features: list[int] | None = None) -> Past:
    """Returns what is known of users by (item, action); each says one feature, in all their events."""
    owners = np.repeat(np.arange(len(users)), [len(each) for each in users])
    items, actions = (np.array([event[n] for each in users for event in each], np.int64) for n in (0, 1))
    says = None if features is None else np.array(features, np.int64)[owners][:, None]
    events = Events(owners, items, actions, np.full(len(items), np.nan), np.zeros(len(items), np.int64), says)
    return past(events, len(users), M, np.inf, 5.0)


def drawn(history: int = M) -> TowerScorer:
    rng = np.random.default_rng(1)
    shapes = (M, F), (BUCKETS, F), (WIDTH, F + 1), (F, WIDTH + 1)
    tower = UserTower(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    return TowerScorer([f"i{n:02}" for n in range(M)], rng.normal(size=(M, F)).astype(np.float32), tower, history)


def changed(scorer: TowerScorer, name: str, value: Real) -> TowerScorer:
    tables = {"taken": scorer._taken, "features": scorer._features, "hidden": scorer._hidden, "out": scorer._out}
    return TowerScorer(scorer.items, scorer.Y, UserTower(**tables | {name: value}), M)


def test_a_user_by_hand() -> None:
    """Strengths 1 and 5 of items 0 and 1, and feature 7 of 5 buckets: s = (1 + .5, 5) / 26^.5 and so on."""
    taken = np.zeros((M, 1))
    taken[:2, 0] = 1, 2
    features = np.array([[0.0], [0], [0.5], [0], [0]])
    tower = UserTower(taken, features, np.array([[3.0, -1.0], [1, 0]]), np.array([[2.0, 1.0, 0.25]]))
    scorer = TowerScorer([str(n) for n in range(M)], np.ones((M, 1)), tower, M)
    s = (1 * 1 + 5 * 2) / np.sqrt(26) + 0.5
    x = 2 * np.tanh(3 * s - 1) + np.tanh(s) + 0.25
    asked = known([(0, VIEW), (1, PURCHASE)], [], features=[7, 7])
    np.testing.assert_allclose(scorer.user_vectors(asked), [[x], [0]], rtol=1e-15)
    np.testing.assert_allclose(scorer.score(asked, np.array([[3], [3]])), [[x], [0]], rtol=1e-15)


def test_a_user_has_the_same_bits_in_every_batch() -> None:
    scorer, rng = drawn(), np.random.default_rng(2)
    users = [[(int(item), VIEW) for item in rng.choice(M, rng.integers(0, 12), False)] for _ in range(50)]
    features = rng.integers(NO_FEATURE, 20, 50).tolist()
    together = known(*users, features=features)
    X, lists = scorer.user_vectors(together), scorer.lists(together, 6, np.arange(M))
    why = scorer.explain(together, lists.items)
    for user, each in enumerate(users):
        alone = known(each, features=features[user : user + 1])
        assert np.array_equal(scorer.user_vectors(alone)[0], X[user])
        assert np.array_equal(scorer.explain(alone, lists.items[[user]])[0], why[user])


def test_the_reason_is_the_item_without_which_the_score_falls_most() -> None:
    scorer, rng = drawn(), np.random.default_rng(3)
    some = 0
    for size in (1, 2, 3, 9):
        taken = np.sort(rng.choice(M, size, False)).tolist()
        events = [(item, (VIEW, PURCHASE)[item % 2]) for item in taken]
        items = np.arange(M)[None]
        whole = scorer.score(known(events, features=[3]), items)[0]
        rest = [[event for event in events if event[0] != item] for item in taken]
        less = scorer.score(known(*rest, features=[3] * size), np.repeat(items, size, 0))
        if size == 1:  # nothing is known of them: a list of theirs is by their features alone
            only = changed(scorer, "taken", np.zeros((M, F)))
            less = only.score(known(events, features=[3]), items)
        falls = whole - less
        expected = np.where(falls.max(axis=0) > 0, np.array(taken)[falls.argmax(axis=0)], NONE)
        assert np.array_equal(scorer.explain(known(events, features=[3]), items)[0], expected)
        some += int((expected != NONE).sum())
    assert some > 2 * M


def test_an_item_beside_a_far_stronger_one_counts_when_that_is_left_out() -> None:
    scorer = drawn()
    asked = known([(0, VIEW), (1, VIEW)])
    asked.rows.strengths[:] = 1e12, 1.0
    without = scorer.score(known([(1, VIEW)]), np.arange(M)[None])[0]
    falls = scorer.score(asked, np.arange(M)[None])[0] - without
    assert np.array_equal(scorer.explain(asked, np.arange(M)[None])[0] == 0, falls > 0)


def test_places_without_an_item_and_users_without_one_have_no_reason() -> None:
    scorer = drawn()
    why = scorer.explain(known([(0, VIEW)], []), np.array([[5, NONE], [5, 6]]))
    assert why[0, 1] == NONE
    assert (why[1] == NONE).all()


def test_the_weakest_strengths_have_a_length() -> None:
    scorer, asked = drawn(), known([(0, VIEW), (1, VIEW)])
    expected = scorer.user_vectors(asked)
    asked.rows.strengths[:] = 5e-324
    np.testing.assert_allclose(scorer.user_vectors(asked), expected)


def test_without_features_what_events_say_is_left_out() -> None:
    scorer = changed(drawn(), "features", np.empty((0, F)))
    says, silent = known([(0, VIEW)], features=[3]), known([(0, VIEW)])
    assert np.array_equal(scorer.user_vectors(says), scorer.user_vectors(silent))


@pytest.mark.parametrize("size", [2, 3, 4, 30])
def test_a_user_is_the_items_that_they_named_last(size: int) -> None:
    """Of 3; an item that is named again, if only to ignore it, is new again, and an unknown one is none."""
    scorer, ignored = drawn(3), ACTIONS.index("ignore")
    order = np.random.default_rng(size).permutation(M)[:size].tolist()
    events = [(item, VIEW) for item in order]
    again = [*events, (UNKNOWN, VIEW), (order[0], ignored), (UNKNOWN, VIEW)]
    few = [(5, VIEW), (6, VIEW)]
    for named, newest in ((events, order[-3:]), (again, [order[0], *order[1:][-2:]])):
        expected = scorer.user_vectors(known(few, [(item, VIEW) for item in newest]))
        asked = known(few, named)
        assert np.array_equal(scorer.user_vectors(asked), expected)
        why = scorer.explain(asked, np.tile(np.arange(M), (2, 1)))
        assert {*why[1].tolist()} <= {*newest, NONE}


@pytest.mark.parametrize("name", ["taken", "features", "hidden", "out"])
def test_what_does_not_fit_or_is_not_finite_is_a_fault(name: str) -> None:
    sound = drawn()
    assert sound.sound() == []
    table = np.array(getattr(sound, f"_{name}"))
    broken = table.copy()
    broken[1, 1] = np.nan
    assert changed(sound, name, broken).sound() == [f"{name} must be finite, got NaN or infinite ones"]
    narrower = changed(sound, name, table[:, :-1]).sound()
    assert any(fault.startswith(f"{name} must be {table.shape}, got") for fault in narrower)
