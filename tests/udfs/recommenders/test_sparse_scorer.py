"""Scores that are sums over few items, by hand."""

import numpy as np

from headrace.udfs.factors.confidence import ACTIONS, Events
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders import contract
from headrace.udfs.recommenders.contract import Lists, Past
from headrace.udfs.recommenders.neighbour_scorer import NeighbourScorer
from headrace.udfs.recommenders.sparse_scorer import Weights
from headrace.udfs.recommenders.user_scorer import UserScorer

VIEW = ACTIONS.index("view")


def viewed(items: int, *taken: int) -> Past:
    n = len(taken)
    events = Events(np.zeros(n, int), np.array(taken), np.full(n, VIEW), np.full(n, np.nan), np.arange(n))
    return contract.past(events, 1, items, 1e12, 5.0)


def test_what_a_history_speaks_against_is_not_listed() -> None:
    """Item 0 speaks for item 1, against item 2, and both ways about item 3."""
    weights = Weights(
        np.array([0, 3, 3, 3, 3, 4]), np.array([1, 2, 3, 3]), np.array([0.5, -0.5, 0.5, -0.5], np.float32)
    )
    model = NeighbourScorer([*"abcde"], weights)
    found = model.lists(viewed(5, 0, 4), 3, np.arange(5))
    assert found.items.tolist() == [[1, NONE, NONE]]
    assert model.score(viewed(5, 0, 4), np.array([[1, 2, 3]])).tolist() == [[0.5, -0.5, 0.0]]
    assert model.similar(np.array([0]), 3, np.arange(5)).items.tolist() == [[1, 3, NONE]]


def test_only_the_nearest_users_count() -> None:
    """The first user of the two who took item 0 is nearer: of one item more, not of two."""
    model = UserScorer([*"abcd"], np.array([0, 2, 5]), np.array([0, 1, 0, 2, 3]), neighbours=1)
    assert model.lists(viewed(4, 0), 3, np.arange(4)).items.tolist() == [[1, NONE, NONE]]
    every = UserScorer([*"abcd"], np.array([0, 2, 5]), np.array([0, 1, 0, 2, 3]), neighbours=2)
    assert every.lists(viewed(4, 0), 3, np.arange(4)).items.tolist() == [[1, 2, 3]]


def test_who_is_unknown_or_has_nothing_left_gets_the_popular_items() -> None:
    items, popular = np.array([[4, 5], [NONE, NONE], [4, NONE], [4, 5]]), np.tile([1, 2], (4, 1))
    lists = Lists(items, np.zeros(items.shape), np.array([True, True, True, False]))
    assert lists.filled(Lists(popular, np.zeros(items.shape), np.zeros(4, bool))).tolist() == [
        [4, 5], [1, 2], [4, NONE], [1, 2],
    ]  # fmt: skip
