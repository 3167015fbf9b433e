"""Metrics of lists against loops that follow docs/night.md word by word, cases worked by hand, and laws."""

import math
from itertools import combinations

import numpy as np
import pytest

from headrace.udfs.evaluation import ranking
from headrace.udfs.evaluation.ranking import Float, Int, Relevant
from headrace.udfs.factors.top_n import NONE

Lists = list[list[int]]
Wanted = list[set[int]]


def relevant(wanted: Wanted) -> Relevant:
    items = [sorted(each) for each in wanted]
    indptr = np.cumsum([0, *map(len, items)])
    return Relevant(indptr, np.array([item for each in items for item in each], np.int64))


def accuracy_by_loops(listed: list[int], wanted: set[int], k: int) -> dict[str, float]:
    gained, ideal, hits, precisions, first = 0.0, 0.0, 0, 0.0, 0
    for place in range(1, k + 1):
        if place <= len(wanted):
            ideal += 1 / math.log2(place + 1)
        if place <= len(listed) and listed[place - 1] in wanted:
            hits += 1
            first = first or place
            gained += 1 / math.log2(place + 1)
            precisions += hits / place
    return {
        "hit_rate": 1.0 if hits else 0.0,
        "precision": hits / k,
        "recall": hits / len(wanted),
        "capped_recall": hits / min(k, len(wanted)),
        "ndcg": gained / ideal,
        "map": precisions / min(k, len(wanted)),
        "mrr": 1 / first if first else 0.0,
    }


def world(seed: int, users: int = 60, items: int = 40, k: int = 7) -> tuple[Lists, Wanted]:
    """Draws lists of 0 to k different items, and 1 to 15 relevant ones."""
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(items)[: rng.integers(0, k + 1)].tolist() for _ in range(users)]
    return lists, [set(rng.permutation(items)[: rng.integers(1, 16)].tolist()) for _ in range(users)]


def padded(lists: Lists, k: int) -> Int:
    return np.array([[*each, *[NONE] * (k - len(each))] for each in lists], np.int64)


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_that_of_the_loops(seed: int) -> None:
    lists, wanted = world(seed)
    got = ranking.accuracy(ranking.hits(padded(lists, 7), relevant(wanted)), relevant(wanted).counts)
    for user, (listed, wants) in enumerate(zip(lists, wanted, strict=True)):
        expected = accuracy_by_loops(listed, wants, 7)
        assert {name: each[user] for name, each in got.items()} == pytest.approx(expected, abs=1e-12)


def test_accuracy_by_hand() -> None:
    """Of [a, b, c, d] the second and fourth are relevant, with one more that is not listed."""
    h = np.array([[False, True, False, True]])
    got = {name: float(each[0]) for name, each in ranking.accuracy(h, np.array([3])).items()}
    dcg, best = 1 / math.log2(3) + 1 / math.log2(5), 1 + 1 / math.log2(3) + 0.5
    assert got == pytest.approx(
        {
            "hit_rate": 1,
            "precision": 0.5,
            "recall": 2 / 3,
            "capped_recall": 2 / 3,
            "ndcg": dcg / best,
            "map": (1 / 2 + 2 / 4) / 3,
            "mrr": 0.5,
        }
    )


def test_a_perfect_list_reaches_the_bounds_and_no_list_more() -> None:
    _, wanted = world(4)
    n = relevant(wanted).counts
    best = padded([sorted(each)[:7] for each in wanted], 7)
    got = ranking.accuracy(ranking.hits(best, relevant(wanted)), n)
    assert {name: float(got[name].mean()) for name in ("precision", "recall")} == pytest.approx(ranking.bounds(n, 7))
    for name in ("hit_rate", "capped_recall", "ndcg", "map", "mrr"):
        assert got[name] == pytest.approx(np.ones(len(n)))


def test_a_hit_further_up_is_never_worse() -> None:
    h = np.zeros((5, 6), bool)
    h[np.arange(5), np.arange(5)] = True
    got = ranking.accuracy(h, np.full(5, 3))
    assert all((np.diff(each) <= 0).all() for each in got.values())
    assert (np.diff(got["ndcg"]) < 0).all()


def test_who_wants_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a relevant item, got 0 of user 1"):
        ranking.accuracy(np.zeros((2, 3), bool), np.array([1, 0]))


def test_beyond_accuracy_is_that_of_the_loops() -> None:
    lists, wanted = world(5)
    others, _ = world(6)
    rng = np.random.default_rng(7)
    item_users, vectors, category = rng.integers(0, 9, 40), rng.normal(size=(40, 3)), rng.integers(-1, 4, 40)
    table, h = padded(lists, 7), ranking.hits(padded(lists, 7), relevant(wanted))
    got = {
        "serendipity": ranking.serendipity(table, h, padded(others, 7)),
        "overlap": ranking.overlap(table, padded(others, 7)),
        "novelty": ranking.novelty(table, item_users, 100),
        "percentile": ranking.popularity_percentile(table, item_users),
        "diversity": ranking.diversity(table, ranking.cosine(vectors)),
        "category": ranking.diversity(table, ranking.same(category)),
    }
    for user, listed in enumerate(lists):
        expected = beyond_by_loops(listed, wanted[user], others[user], item_users, vectors, category)
        assert {name: each[user] for name, each in got.items()} == pytest.approx(expected, nan_ok=True), user


def beyond_by_loops(
    listed: list[int], wanted: set[int], popular: list[int], item_users: Int, vectors: Float, category: Int
) -> dict[str, float]:
    pairs = list(combinations(listed, 2))
    known = [(a, b) for a, b in pairs if category[a] >= 0 and category[b] >= 0]
    catalogue = [users for users in item_users if users > 0]

    def percentile(item: int) -> float:
        less = sum(users < item_users[item] for users in catalogue)
        return float(less + sum(users == item_users[item] for users in catalogue) / 2) / len(catalogue)

    def angle(a: int, b: int) -> float:
        return float(vectors[a] @ vectors[b]) / math.sqrt(
            float(vectors[a] @ vectors[a]) * float(vectors[b] @ vectors[b])
        )

    return {
        "serendipity": len((set(listed) & wanted) - set(popular)) / 7,
        "overlap": mean([item in popular for item in listed]),
        "novelty": mean([-math.log2(max(item_users[item], 1) / 100) for item in listed]),
        "percentile": mean([percentile(item) for item in listed]),
        "diversity": 1 - mean([angle(a, b) for a, b in pairs]),
        "category": mean([category[a] != category[b] for a, b in known]),
    }


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def test_alike_items_have_no_diversity_and_an_item_of_zeros_is_like_no_other() -> None:
    vectors = np.array([[1.0, 0], [2, 0], [0, 3], [0, 0]])
    lists = np.array([[0, 1], [0, 2], [0, 3], [0, NONE]])
    np.testing.assert_allclose(ranking.diversity(lists, ranking.cosine(vectors)), [0, 1, 1, np.nan])


def test_exposure_by_hand() -> None:
    """Of six items the catalogue holds five; three of them are listed 1, 2 and 3 times."""
    catalogue = np.array([True, True, True, True, True, False])
    exposed = ranking.exposure(np.array([[0, 1, 5], [2, 1, NONE], [2, 5, NONE], [2, NONE, NONE]]), 6)
    assert exposed.tolist() == [1, 2, 3, 0, 0, 2]
    assert ranking.coverage(exposed, catalogue) == 3 / 5
    everyone = [abs(a - b) for a in exposed[:5].tolist() for b in exposed[:5].tolist()]
    assert ranking.gini(exposed, catalogue) == pytest.approx(sum(everyone) / (2 * 25 * 6 / 5))
    assert ranking.gini(np.ones(4, np.int64), np.ones(4, bool)) == pytest.approx(0)
    assert ranking.gini(np.array([0, 0, 0, 9]), np.ones(4, bool)) == pytest.approx(3 / 4)


def test_segments_part_the_users() -> None:
    got = ranking.segments(np.array([0, 4, 5, 19, 20, 900]))
    assert {name: np.flatnonzero(each).tolist() for name, each in got.items()} == {
        "new": [0, 1],
        "light": [2, 3],
        "heavy": [4, 5],
    }


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """80 % intervals of 200 samples: 160 should hold the mean, with a standard deviation of 5.7."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        sample = {"clicks": (rng.random(150) < 0.3).astype(np.float64)}
        found = ranking.intervals(sample, rng, confidence=0.8, resamples=200)["clicks"]
        held += found.low <= 0.3 <= found.high
    assert abs(held - 160) < 4 * 5.7


def test_intervals_are_as_wide_as_the_normal_ones_and_the_same_again() -> None:
    values = np.random.default_rng(2).normal(5, 2, 4000)
    columns = {"a": values, "b": values + 1, "none": np.full(4000, np.nan)}
    got = ranking.intervals(columns, np.random.default_rng(3))
    assert got == ranking.intervals(columns, np.random.default_rng(3))
    assert got.keys() == {"a", "b"}
    width = 2 * 1.96 * values.std() / math.sqrt(4000)
    assert got["a"].high - got["a"].low == pytest.approx(width, rel=0.1)
    assert (got["b"].low - got["a"].low, got["b"].value) == pytest.approx((1, values.mean() + 1))  # the same resamples


def test_a_user_without_a_value_does_not_count() -> None:
    some = np.array([1.0, np.nan, 3.0, np.nan])
    got = ranking.intervals({"all": np.arange(4.0), "some": some}, np.random.default_rng(1))
    assert got["some"].value == 2.0
    assert 1.0 <= got["some"].low <= got["some"].high <= 3.0
