"""Exact top N against a sort of all float64 scores, and reasons against the smoother written out."""

import numpy as np
import pytest

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.factors.top_n import _SCORES, NONE, Excluded, Top, longest, reasons, top_n

NOTHING = Excluded(np.empty(0, np.int64), np.empty(0, np.int64))


def sorted_out(X: Float, Y: Real, n: int, excluded: Excluded) -> Top:
    """Sorts all scores of each user."""
    items, scores = np.full((len(X), n), NONE), np.full((len(X), n), -np.inf)
    for user, x in enumerate(X):
        never = set(excluded.items[excluded.users == user].tolist())
        exact = np.einsum("if,f->i", Y.astype(np.float64), x.astype(np.float64))
        ranked = [item for item in np.lexsort((np.arange(len(Y)), -exact)).tolist() if item not in never][:n]
        items[user, : len(ranked)], scores[user, : len(ranked)] = ranked, exact[ranked]
    return Top(items, scores)


def some(rng: np.random.Generator, users: int, items: int, each: int) -> Excluded:
    return Excluded(np.repeat(np.arange(users), each), rng.integers(0, items, users * each))


def check(X: Float, Y: Real, n: int, excluded: Excluded) -> None:
    got, expected = top_n(X, Y, n, excluded), sorted_out(X, Y, n, excluded)
    np.testing.assert_array_equal(got.items, expected.items)
    np.testing.assert_allclose(got.scores, expected.scores, rtol=1e-12, atol=1e-15)


def test_by_hand() -> None:
    Y = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [2, 0]], np.float32)
    X = np.array([[1.0, 0.5], [0.0, 0.0], [-1.0, 0.0]])
    got = top_n(X, Y, 3, Excluded(np.array([0, 2, 2]), np.array([4, 3, 3])))
    assert got.items.tolist() == [[2, 0, 1], [0, 1, 2], [1, 0, 2]]
    assert got.scores.tolist() == [[1.5, 1.0, 0.5], [0, 0, 0], [0, -1, -1]]


@pytest.mark.parametrize(("users", "items"), [(1, 1), (3, 15), (5, 16), (7, 37), (9, 2000), (60, 40_000)])
@pytest.mark.parametrize("n", [1, 20])
def test_equals_a_sort(users: int, items: int, n: int) -> None:
    rng = np.random.default_rng(items)
    X, Y = rng.normal(size=(users, 8)), rng.normal(size=(items, 8)).astype(np.float32)
    check(X, Y, n, some(rng, users, items, 10))


def test_ties_come_in_the_order_of_the_items() -> None:
    """Small whole numbers: many scores are equal."""
    rng = np.random.default_rng(1)
    X, Y = rng.integers(-1, 2, (40, 3)).astype(float), rng.integers(-1, 2, (30_000, 3)).astype(np.float32)
    check(X, Y, 20, some(rng, 40, 30_000, 30))


def test_scores_that_float32_cannot_tell_apart() -> None:
    """The first two columns cancel; what is left is lost in float32."""
    rng = np.random.default_rng(2)
    big = rng.choice([1000.0, 3000.0], 5000)
    Y = np.column_stack([big, big, rng.normal(size=5000) * 1e-5]).astype(np.float32)
    check(np.array([[1.1, -1.1, 1.0], [1 / 3, -1 / 3, -1.0]]), Y, 10, NOTHING)


def test_tiny_numbers() -> None:
    rng = np.random.default_rng(3)
    check(rng.normal(size=(3, 4)) * 1e-30, (rng.normal(size=(500, 4)) * 1e-12).astype(np.float32), 5, NOTHING)


def test_numbers_whose_squares_or_products_float32_cannot_hold() -> None:
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(4, 3)), (rng.normal(size=(800, 3)) * 1e-24).astype(np.float32)
    for scale in (1e20, 1e-18, 1e-20):
        check(X * scale, Y, 15, NOTHING)


def test_items_at_the_edges_of_the_blocks_can_be_excluded() -> None:
    users = 64
    edge = _SCORES // users
    Y = np.arange(3 * edge, dtype=np.float32)[:, None] / 1e6
    best = np.array([edge - 1, edge, 2 * edge - 1, 2 * edge, 3 * edge - 1])
    Y[best] += 1.0
    excluded = Excluded(np.repeat(np.arange(users), len(best)), np.tile(best, users))
    assert top_n(np.ones((users, 1)), Y, 2, excluded).items.tolist() == [[3 * edge - 2, 3 * edge - 3]] * users


def test_nothing_but_excluded_items_is_an_empty_list() -> None:
    every = Excluded(np.repeat([0], 50), np.arange(50))
    got = top_n(np.ones((2, 2)), np.ones((50, 2), np.float32), 3, every)
    assert got.items.tolist() == [[NONE] * 3, [0, 1, 2]]
    assert got.scores[0].tolist() == [-np.inf] * 3


def test_no_user_and_no_item() -> None:
    assert top_n(np.ones((0, 2)), np.ones((5, 2), np.float32), 3, NOTHING).items.shape == (0, 3)
    assert top_n(np.ones((1, 2)), np.ones((0, 2), np.float32), 3, NOTHING).items.tolist() == [[NONE] * 3]


def test_a_user_has_the_same_bits_in_every_batch() -> None:
    rng = np.random.default_rng(4)
    X, Y = rng.normal(size=(150, 33)), rng.normal(size=(3001, 33)).astype(np.float32)
    excluded = some(rng, 150, 3001, 20)
    batch = top_n(X, Y, 20, excluded, longest(Y))
    for user in range(150):
        mine = excluded.items[excluded.users == user]
        one = top_n(X[user : user + 1], Y, 20, Excluded(np.zeros(len(mine), np.int64), mine))
        assert one.items.tobytes() == batch.items[user].tobytes()
        assert one.scores.tobytes() == batch.scores[user].tobytes()


def test_n_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n must be >= 1, got 0"):
        top_n(np.ones((1, 1)), np.ones((1, 1)), 0, NOTHING)


def why(Y: Float, columns: Int, r: Float, o: als.Objective, item: int) -> int:
    """Returns the history item of the largest part; all parts are computed with the inverse."""
    reg = o.reg * (len(columns) + o.unobserved * len(Y)) ** o.nu
    H = Y[columns]
    W = np.linalg.inv(o.unobserved * Y.T @ Y + H.T @ np.diag(o.alpha * r) @ H + reg * np.eye(Y.shape[1]))
    parts = [float(Y[item] @ W @ h) * (o.alpha * s + o.unobserved * o.target) for h, s in zip(H, r, strict=True)]
    return int(columns[int(np.argmax(parts))]) if max(parts) > 0 else NONE


@pytest.mark.parametrize("objective", [als.hu(), als.ials()])
def test_reasons_equal_the_smoother_written_out(objective: als.Objective) -> None:
    rng = np.random.default_rng(5)
    Y, lengths = rng.normal(size=(80, 6)), [0, 1, 3, 5, 0, 9, 30, 0]
    columns = [np.sort(rng.choice(80, length, replace=False)) for length in lengths]
    strengths = [rng.uniform(0.5, 5, length) for length in lengths]
    rows = als.Rows(np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(columns), np.concatenate(strengths))
    items = rng.integers(0, 80, (8, 7))
    items[3, 5:] = NONE
    got = reasons(als.basis(Y), rows, objective, items)
    for user, held in enumerate(columns):
        for item, reason in zip(items[user], got[user], strict=True):
            given = len(held) and item != NONE
            assert reason == (why(Y, held, strengths[user], objective, item) if given else NONE)


def test_equal_parts_give_the_first_item_and_no_history_gives_none() -> None:
    Y = np.array([[1.0], [1.0], [2.0]])
    rows = als.Rows(np.array([0, 2]), np.array([0, 1]), np.ones(2))
    assert reasons(als.basis(Y), rows, als.hu(), np.array([[2, NONE]])).tolist() == [[0, NONE]]
    empty = als.Rows(np.zeros(2, np.int64), np.empty(0, np.int64), np.empty(0))
    assert reasons(als.basis(Y), empty, als.hu(), np.array([[2]])).tolist() == [[NONE]]
