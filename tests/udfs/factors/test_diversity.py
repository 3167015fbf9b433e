"""MMR against the obvious loop in Python, by hand, and by its laws."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.factors.diversity import UNGROUPED, Cosine, DiversityRule, Groups, SameCategory, mmr, unit
from headrace.udfs.factors.top_n import NONE


def obvious(
    items: list[int], scores: list[float], Y: NDArray[np.float64], n: int, rule: DiversityRule, groups: Groups | None
) -> list[int]:
    """Diversifies one user's list by the text of the paper and of the module's two additions."""

    def cosine(i: int, j: int) -> float:
        return float(Y[i] @ Y[j] / math.sqrt(float(Y[i] @ Y[i]) * float(Y[j] @ Y[j])))

    here = [score for item, score in zip(items, scores, strict=True) if item != NONE]
    rel = [1.0 if max(here) == min(here) else (s - min(here)) / (max(here) - min(here)) for s in here]
    taken: list[int] = []
    while len(taken) < n:
        allowed = []
        for place in range(len(here)):
            group = UNGROUPED if groups is None else int(groups.of[items[place]])
            have = sum(1 for other in taken if groups is not None and groups.of[items[other]] == group)
            if place not in taken and (groups is None or group == UNGROUPED or have < groups.caps[group]):
                allowed.append(place)
        if not allowed:
            break
        like = {p: max((cosine(items[p], items[other]) for other in taken), default=-1.0) for p in allowed}
        different = [p for p in allowed if like[p] <= rule.max_similarity] or allowed
        taken.append(max(different, key=lambda p: rule.trade_off * rel[p] - (1 - rule.trade_off) * like[p]))
    return taken + [NONE] * (n - len(taken))


@pytest.mark.parametrize("rule", [DiversityRule(*each) for each in [(0.7, 0.8), (1.0, 1.0), (0.0, 0.5), (0.4, 0.2)]])
@pytest.mark.parametrize("grouped", [False, True])
def test_it_is_the_obvious_loop(rule: DiversityRule, grouped: bool) -> None:
    rng = np.random.default_rng(1)
    m, f, users, c = 60, 3, 40, 15
    Y = rng.normal(size=(m, f))
    groups = Groups(rng.integers(-1, 4, m), np.array([0, 1, 2, 3])) if grouped else None
    items = np.array([rng.choice(m, c, replace=False) for _ in range(users)])
    scores = -np.sort(-rng.normal(size=(users, c)), axis=1)
    for user in range(users):
        items[user, c - user % 5 :] = NONE  # some have fewer candidates
    scores[items == NONE] = -np.inf
    scores[0] = 1.0
    got = mmr(items, scores, Cosine(unit(Y)), 8, rule, groups)
    for user in range(users):
        assert got[user].tolist() == obvious(items[user].tolist(), scores[user].tolist(), Y, 8, rule, groups), user


def test_by_hand() -> None:
    """The best; then not its twin, nor what is much alike, but the one that points elsewhere."""
    units = Cosine(unit(np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [0.0, 1.0]])))
    items, scores = np.array([[0, 1, 2, 3]]), np.array([[1.0, 0.9, 0.5, 0.0]])
    # .7 x .5 - .3 x .71 > 0 - 0
    assert mmr(items, scores, units, 4, DiversityRule(0.7, 0.8)).tolist() == [[0, 2, 3, 1]]
    assert mmr(items, scores, units, 4, DiversityRule(0.4, 0.8)).tolist() == [[0, 3, 2, 1]]
    assert mmr(items, scores, units, 4, DiversityRule(1.0, 1.0)).tolist() == [[0, 1, 2, 3]]


def test_at_1_no_item_is_too_like_another() -> None:
    """Also where a cosine of equal factors is rounded up."""
    units = unit(np.tile(np.array([[0.1, 0.7, 0.3]], np.float32), (4, 1)))
    units[:2] *= np.float32(1 + 1e-6)
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    assert mmr(np.arange(4)[None], scores, Cosine(units), 4, DiversityRule(1.0, 1.0)).tolist() == [[0, 1, 2, 3]]


def test_nothing_to_take_is_nothing_taken() -> None:
    units = Cosine(unit(np.ones((2, 2))))
    nobody = mmr(np.full((2, 3), NONE), np.full((2, 3), -np.inf), units, 2, DiversityRule(0.7, 0.8))
    assert nobody.tolist() == [[NONE, NONE], [NONE, NONE]]
    groups = Groups(np.array([0, 0]), np.array([0]))
    closed = mmr(np.array([[0, 1]]), np.array([[2.0, 1.0]]), units, 2, DiversityRule(0.7, 0.8), groups)
    assert closed.tolist() == [[NONE, NONE]]


def test_items_of_one_category_are_alike_and_those_without_one_are_like_no_other() -> None:
    items, scores = np.array([[0, 1, 2, 3, 4]]), np.array([[1.0, 0.9, 0.8, 0.1, 0.0]])
    alike = SameCategory(np.array([7, 7, -1, -1, 8]))
    assert mmr(items, scores, alike, 5, DiversityRule(0.5, 1.0)).tolist() == [[0, 2, 3, 4, 1]]
    assert mmr(items, scores, None, 5, DiversityRule(0.5, 1.0)).tolist() == [[0, 1, 2, 3, 4]]


def test_a_zero_vector_has_no_direction() -> None:
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0.0, 0.0], [np.float32(0.6), np.float32(0.8)]]
