"""Alternating least squares against numpy.linalg.solve, user by user, with a dense confidence matrix."""

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Basis, Float, Objective, Rows

OBJECTIVES = [
    als.hu(1.0, 0.1),
    als.hu(10.0, 2.0),
    als.ials(),
    als.ials(0.5, 0.003, 0.1, 0.5),
    Objective(2.0, 0.1, 0.3, 1.0, 0.0),
]


def rows_of(R: Float) -> Rows:
    indptr = np.concatenate([[0], np.cumsum((R > 0).sum(axis=1))])
    return Rows(indptr, np.nonzero(R)[1], R[R > 0])


def random_R(rng: np.random.Generator, lengths: list[int], items: int) -> Float:
    R = np.zeros((len(lengths), items))
    for user, length in enumerate(lengths):
        R[user, rng.choice(items, length, replace=False)] = rng.choice([1.0, 1.5, 3.0, 5.0], length)
    return R


def direct(Y: Float, r: Float, o: Objective) -> tuple[Float, Float]:
    """Returns (A, b) of docs/collaborative.md, with dense matrices."""
    observed = r > 0
    reg = o.reg * (observed.sum() + o.unobserved * len(Y)) ** o.nu
    C = np.diag(np.where(observed, o.alpha * r, 0.0))
    A = o.unobserved * Y.T @ Y + Y.T @ C @ Y + reg * np.eye(Y.shape[1])
    return A, Y.T @ np.where(observed, o.alpha * r + o.unobserved * o.target, 0.0)


def loss(X: Float, Y: Float, R: Float, o: Objective) -> float:
    """Computes the equation of udfs/factors/als.py, with both sides' regularisation."""
    S, observed = X @ Y.T, R > 0
    fit = np.where(observed, o.alpha * R * (1 - S) ** 2 + o.unobserved * (o.target - S) ** 2, o.unobserved * S**2).sum()
    users = (observed.sum(axis=1) + o.unobserved * len(Y)) ** o.nu @ (X**2).sum(axis=1)
    items = (observed.sum(axis=0) + o.unobserved * len(X)) ** o.nu @ (Y**2).sum(axis=1)
    return float(fit + o.reg * (users + items))


def test_a_user_worked_by_hand() -> None:
    """f = 1, Y = (1, 2), one view of the second item, alpha 1, reg 1: (5 + 4 + 1) x = 2 x 2."""
    x = als.solve(als.basis(np.array([[1.0], [2.0]])), Rows(np.array([0, 1]), np.array([1]), np.array([1.0])), als.hu())
    np.testing.assert_allclose(x, [[0.4]], rtol=1e-12)


def test_a_user_worked_by_hand_with_scaled_regularisation() -> None:
    """Rendle's: (w0 5 + 3 x 4 + reg (1 + w0 2)) x = 3 x 2, with w0 = .5 and reg = .25."""
    rows = Rows(np.array([0, 1]), np.array([1]), np.array([3.0]))
    x = als.solve(als.basis(np.array([[1.0], [2.0]])), rows, als.ials(1.0, 0.25, 0.5))
    np.testing.assert_allclose(x, [[6 / 15]], rtol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("f", [3, 32, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-6)])
def test_solve_equals_a_direct_solve(f: int, objective: Objective, dtype: type, tolerance: float) -> None:
    rng = np.random.default_rng(f)
    Y: Float = (rng.normal(size=(400, f)) * np.geomspace(1, 0.05, f) @ rng.normal(size=(f, f)) / f).astype(dtype)
    R = random_R(rng, [*range(70), 150, 400, 0], 400)
    got = als.solve(als.basis(Y), rows_of(R), objective)
    for x, r in zip(got, R, strict=True):
        expected = np.linalg.solve(*direct(Y.astype(np.float64), r, objective))
        assert np.linalg.norm(x - expected) <= tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_user_has_the_same_bits_in_every_batch(objective: Objective) -> None:
    rng = np.random.default_rng(7)
    Y = rng.normal(size=(300, 32)).astype(np.float32)
    R = random_R(rng, [int(n) for n in rng.integers(0, 90, 200)], 300)
    other, items = als.basis(Y), rng.integers(0, 300, (200, 5))
    batch = als.solve(other, rows_of(R), objective)
    parts = als.contributions(other, rows_of(R), objective, items)
    single = [als.solve(other, rows_of(r[None]), objective) for r in R]
    assert batch.tobytes() == np.concatenate(single).tobytes()
    alone = [als.contributions(other, rows_of(r[None]), objective, items[[u]]) for u, r in enumerate(R)]
    assert parts.tobytes() == np.concatenate(alone).tobytes()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_contributions_are_those_of_the_smoother_and_add_up_to_the_score(objective: Objective) -> None:
    rng = np.random.default_rng(11)
    Y = rng.normal(size=(120, 16))
    R = random_R(rng, [1, 5, 15, 16, 17, 60, 0], 120)
    rows, items = rows_of(R), rng.integers(0, 120, (7, 4))
    other = als.basis(Y)
    got, X = als.contributions(other, rows, objective, items), als.solve(other, rows, objective)
    for u, r in enumerate(R):
        mine = slice(rows.indptr[u], rows.indptr[u + 1])
        A, _ = direct(Y, r, objective)
        t = objective.alpha * rows.strengths[mine] + objective.unobserved * objective.target
        expected = t[:, None] * (Y[rows.columns[mine]] @ np.linalg.inv(A) @ Y[items[u]].T)
        np.testing.assert_allclose(got[mine], expected, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(got[mine].sum(axis=0), Y[items[u]] @ X[u], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_objective_never_increases(objective: Objective) -> None:
    rng = np.random.default_rng(3)
    R = random_R(rng, [int(n) for n in rng.integers(0, 30, 60)], 50)
    rows, Y = rows_of(R), als.initial(50, 8, rng).astype(np.float64)
    losses = []
    for _ in range(6):
        X = als.solve(als.basis(Y), rows, objective)
        losses.append(loss(X, Y, R, objective))
        Y = als.solve(als.basis(X), als.transpose(rows, 50), objective)
        losses.append(loss(X, Y, R, objective))
    assert (np.diff(losses) <= 1e-9 * np.array(losses[:-1])).all()
    assert losses[-1] < 0.9 * losses[0]


def test_training_is_half_sweeps_in_turns() -> None:
    rng = np.random.default_rng(4)
    R = random_R(rng, [5] * 30, 20)
    rows, start = rows_of(R), als.initial(20, 4, rng)
    *_, last = als.train(rows, start, 2, als.ials())
    Y = start
    for _ in range(2):
        X = als.solve(als.basis(Y), rows, als.ials()).astype(np.float32)
        Y = als.solve(als.basis(X), rows_of(R.T), als.ials()).astype(np.float32)
    np.testing.assert_array_equal(last.X, X)
    np.testing.assert_array_equal(last.Y, Y)
    assert last.Y.dtype == np.float32


def test_a_warm_start_goes_on_where_training_ended() -> None:
    rng = np.random.default_rng(5)
    rows, start = rows_of(random_R(rng, [5] * 30, 20)), als.initial(20, 4, rng)
    *_, two, three = als.train(rows, start, 3, als.ials())
    (warm,) = als.train(rows, two.Y, 1, als.ials())
    np.testing.assert_array_equal(warm.Y, three.Y)


@pytest.mark.parametrize("objective", [als.hu(5.0, 0.1), als.ials()])
def test_a_checkerboard_gives_each_user_the_item_held_out(objective: Objective) -> None:
    """User u likes the items of their own parity; item u is held out, and must come first."""
    side = 40
    R = (np.add.outer(np.arange(side), np.arange(side)) % 2 == 0).astype(float)
    np.fill_diagonal(R, 0)
    *_, (X, Y) = als.train(rows_of(R), als.initial(side, 2, np.random.default_rng(1)), 10, objective)
    scores = np.where(R > 0, -np.inf, X @ Y.T)
    np.testing.assert_array_equal(scores.argmax(axis=1), np.arange(side))


def test_a_new_item_is_folded_in_from_the_users_of_it_alone() -> None:
    rng = np.random.default_rng(6)
    X, chosen = rng.normal(size=(200, 8)), np.array([3, 50, 120])
    few = als.basis(X[chosen], als.gram(X), len(X))
    rows = Rows(np.array([0, 3]), np.arange(3), np.array([1.0, 5.0, 2.0]))
    every = Rows(np.array([0, 3]), chosen, rows.strengths)
    for objective in OBJECTIVES:
        expected = als.solve(als.basis(X), every, objective)
        np.testing.assert_allclose(als.solve(few, rows, objective), expected, rtol=1e-10)


def test_training_begins_near_zero() -> None:
    start = als.initial(1000, 16, np.random.default_rng(1))
    assert start.dtype == np.float32
    assert 0.09 < np.sqrt((start**2).sum(axis=1).mean()) < 0.11


def test_a_row_without_entries_is_zero() -> None:
    none = Rows(np.zeros(3, np.int64), np.empty(0, np.int64), np.empty(0))
    other: Basis = als.basis(np.ones((4, 2), np.float32))
    assert als.solve(other, none, als.hu()).tolist() == [[0, 0], [0, 0]]
    assert als.contributions(other, none, als.hu(), np.zeros((2, 3), np.int64)).shape == (0, 3)


def test_arguments_stay_as_they_were() -> None:
    rng = np.random.default_rng(8)
    Y, R = rng.normal(size=(20, 3)), random_R(rng, [1, 5, 10], 20)
    rows, kept = rows_of(R), Y.copy()
    als.solve(als.basis(Y), rows, als.hu())
    np.testing.assert_array_equal(Y, kept)
    np.testing.assert_array_equal(rows.strengths, R[R > 0])


def test_transpose() -> None:
    R: NDArray[np.float64] = random_R(np.random.default_rng(9), [0, 3, 6, 1], 7)
    for got, expected in zip(als.transpose(rows_of(R), 7), rows_of(R.T), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_padding_is_small_and_depends_on_the_length_alone() -> None:
    lengths = np.arange(1, 5000)
    padded = als.padded_length(lengths)
    assert (padded >= lengths).all()
    assert (padded - lengths < np.maximum(4, lengths / 8 + 1)).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: als.hu(alpha=0), "alpha must be > 0, got 0"),
        (lambda: als.ials(reg=-1), "reg must be > 0, got -1"),
        (lambda: als.ials(reg=np.nan), "reg must be > 0, got nan"),
        (lambda: als.ials(unobserved=-0.1), "unobserved must be >= 0, got -0.1"),
        (lambda: als.ials(nu=np.inf), "nu must be >= 0, got inf"),
    ],
)
def test_an_objective_says_what_is_wrong(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


def test_rows_solved_together_are_each_there_once() -> None:
    """Also where a length has more rows than are gathered at a time."""
    lengths = np.array([0, 1, 4, 3, 9, 2, 0, 4, 70, 1])
    batches = list(als.alike(lengths, 8, gathered=64))
    found = np.concatenate([rows for rows, _ in batches])
    assert sorted(found.tolist()) == np.flatnonzero(lengths).tolist()
    assert [len(rows) for rows, length in batches if length == 4] == [2, 2, 2]
    assert all(length >= lengths[rows].max() for rows, length in batches)
