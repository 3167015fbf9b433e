"""Lists of a night against sorting in Python; by an index that finds everything, the same lists."""

import json
from collections.abc import Collection
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.factors.confidence import Events
from headrace.udfs.factors.diversity import DiversityRule
from headrace.udfs.factors.top_n import Excluded
from headrace.udfs.recommenders import nightly_lists
from headrace.udfs.recommenders.contract import Past
from headrace.udfs.recommenders.factor_scorer import FactorScorer, Search
from headrace.udfs.recommenders.nightly_lists import Catalogue, ListWish

NOTHING = np.empty(0, np.int64)
NO_EVENTS = Events(NOTHING, NOTHING, NOTHING, np.empty(0), NOTHING)
ITEMS, USERS, FACTORS = 70, 30, 5
LEFT_OUT = [f"i{n:02}" for n in range(0, ITEMS, 7)]
BY_SCORE = ListWish(n=10, candidates=10, rule=DiversityRule(1.0, 1.0))


class Drawn(FactorScorer):
    """The vectors of the users are drawn; the first user has none."""

    def user_vectors(self, past: Past) -> Float:
        X = np.random.default_rng(2).normal(size=(past.users, FACTORS))
        X[0] = 0
        return X


def catalogue(search: bool, left_out: Collection[str] = LEFT_OUT) -> Catalogue:
    Y = np.random.default_rng(1).normal(size=(ITEMS, FACTORS)).astype(np.float32)
    names = [f"i{n:02}" for n in range(ITEMS)]
    allowed = np.array([n for n, name in enumerate(names) if name not in left_out], np.int64)
    model = Drawn(names, Y)

    def exact(vectors: Real, most: int) -> Search:
        def search(X: Real, k: int) -> tuple[NDArray[np.float32], Int]:
            assert k <= most, "one user's history sets the work of all"
            scores = X @ vectors[allowed].T
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(scores, order, 1), order

        return search

    if search:
        model.searching(exact(Y, 20), exact(model.units, 4))
    return Catalogue("v1", 7, model, allowed)


def shoppers() -> Past:
    """User u has seen u items and wanted every second of them."""
    rng = np.random.default_rng(2)
    seen = [np.sort(rng.choice(ITEMS, user, replace=False)) for user in range(USERS)]
    wanted = [each[::2] for each in seen]
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in wanted])])
    rows = Rows(indptr, np.concatenate(wanted), np.ones(int(indptr[-1])))
    excluded = Excluded(np.repeat(np.arange(USERS), np.arange(USERS)), np.concatenate(seen))
    return Past(NO_EVENTS, USERS, rows, excluded)


@pytest.mark.parametrize("search", [False, True])
def test_a_list_is_the_best_of_what_is_neither_seen_nor_left_out(search: bool) -> None:
    known, past = catalogue(search), shoppers()
    model, wanted, seen = cast(Drawn, known.recommender), past.rows, past.seen
    X = model.user_vectors(past)
    found = nightly_lists.lists(known, past, BY_SCORE)
    assert found[0] is None
    for user in range(1, USERS):
        had = set(seen.items[seen.users == user].tolist())
        left = [item for item in range(ITEMS) if item not in had and item % 7]
        best = sorted(left, key=lambda item: (-float(X[user] @ model.Y[item].astype(float)), item))[:10]
        listed = json.loads(found[user] or b"")
        assert [entry["item"] for entry in listed["items"]] == [f"i{item:02}" for item in best]
        assert (listed["version"], listed["as_of_ms"]) == ("v1", 7)
        for entry, item in zip(listed["items"], best, strict=True):
            assert entry["score"] == pytest.approx(float(X[user] @ model.Y[item].astype(float)), abs=1e-6)
            likeness = {
                w: cosine(model, item, w) for w in wanted.columns[slice(*wanted.indptr[user : user + 2])].tolist()
            }
            nearest = max(likeness, key=lambda each: likeness[each])
            assert entry["reason"] == (f"i{nearest:02}" if likeness[nearest] > 0 else None)


@pytest.mark.parametrize("search", [False, True])
def test_similar_items_are_those_of_the_highest_cosine(search: bool) -> None:
    known, of = catalogue(search), np.arange(20, 40)
    model = cast(Drawn, known.recommender)
    for item, value in zip(of.tolist(), nightly_lists.similar(known, of, 3), strict=True):
        others = [other for other in range(ITEMS) if other != item and other % 7]
        best = sorted(others, key=lambda other: -cosine(model, item, other))[:3]
        listed = json.loads(value or b"")["items"]
        assert [entry["item"] for entry in listed] == [f"i{other:02}" for other in best]
        assert {entry["reason"] for entry in listed} == {f"i{item:02}"}


def test_if_everything_is_left_out_there_is_no_list() -> None:
    known = catalogue(False, [f"i{n:02}" for n in range(ITEMS)])
    assert nightly_lists.lists(known, shoppers(), BY_SCORE) == [None] * USERS
    assert nightly_lists.similar(known, np.arange(3), 3) == [None] * 3


def cosine(model: Drawn, one: int, other: int) -> float:
    a, b = (model.Y[each].astype(float) for each in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
