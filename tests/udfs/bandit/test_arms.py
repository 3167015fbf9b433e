"""Statistics of arms: exact to the bit in any order, and the regressions that they determine."""

import struct
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.udfs.bandit import arms
from headrace.udfs.bandit.arms import Floats, Posterior, Statistics


def impressions(m: int, k: int, d: int, seed: int) -> tuple[list[str], Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    X = rng.normal(scale=3, size=(m, d)) * (rng.random((m, d)) < 0.8)
    return [f"arm-{i}" for i in rng.integers(0, k, m)], X, rng.choice([1.0, -1.0], m), rng.normal(scale=4, size=m)


def packed(names: list[str], X: Floats, w: Floats, r: Floats) -> dict[str, bytes]:
    first, statistics = arms.partials(names, X, w, r)
    return {names[row]: each for row, each in zip(first, arms.pack(statistics), strict=True)}


def sherman_morrison(X: Floats, r: Floats, ridge: float) -> tuple[Floats, Floats]:
    A_inv, b = np.eye(X.shape[1]) / ridge, np.zeros(X.shape[1])
    for x, reward in zip(X, r, strict=True):
        Ax = A_inv @ x
        A_inv, b = A_inv - np.outer(Ax, Ax) / (1 + x @ Ax), b + reward * x
    return A_inv @ b, A_inv


def test_by_hand() -> None:
    first, got = arms.partials(["b", "a", "b"], [[1.0, 2.0], [3.0, 0.0], [0.5, -1.0]], [1, 1, -1], [4, 0.25, 2])
    assert first.tolist() == [0, 1]
    assert got.n.tolist() == [0, 1]
    assert got.b.tolist() == [[3, 10], [0.75, 0]]
    assert got.A.tolist() == [[[0.75, 2.5], [2.5, 3]], [[9, 0], [0, 0]]]
    assert arms.pack(got)[0] == struct.pack("<6d", 0.75, 2.5, 3, 3, 10, 0)


def test_quantise_rounds_halves_up_and_clips() -> None:
    step = 1 / 4096
    given_ = [0, 0.49 * step, 0.5 * step, -0.5 * step, -0.51 * step, 7.99999, 9, -9, np.inf]
    assert arms.quantise(given_).tolist() == [0, 0, step, 0, -step, 8, 8, -8, 8]
    assert arms.quantise([20.0, -20.0], arms.REWARD_MAX).tolist() == [16, -16]


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=50)
def test_partials_are_the_sums_of_fractions(m: int, k: int, d: int, seed: int) -> None:
    def exact(value: float, bound: int) -> Fraction:
        return max(
            min(Fraction(floor(Fraction(value) * 4096 + Fraction(1, 2)), 4096), Fraction(bound)), Fraction(-bound)
        )

    names, X, w, r = impressions(m, k, d, seed)
    first, got = arms.partials(names, X, w, r)
    assert [names[row] for row in first] == list(dict.fromkeys(names))
    assert first.tolist() == [names.index(name) for name in dict.fromkeys(names)]
    for i, name in enumerate(dict.fromkeys(names)):
        rows = [row for row in range(m) if names[row] == name]
        x = {row: [exact(value, 8) for value in X[row]] for row in rows}
        sign = {row: int(w[row]) for row in rows}
        assert got.n[i] == sum(sign.values())
        assert got.b[i].tolist() == [sum(sign[j] * x[j][p] * exact(r[j], 16) for j in rows) for p in range(d)]
        A = [[sum(sign[j] * x[j][p] * x[j][q] for j in rows) for q in range(d)] for p in range(d)]
        assert got.A[i].tolist() == A


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 8), st.integers(0, 10_000))
@settings(max_examples=50)
def test_batches_and_order_do_not_change_a_bit(m: int, batches: int, d: int, seed: int) -> None:
    names, X, w, r = impressions(m, 4, d, seed)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[bytes]] = {}
    for rows in np.array_split(rng.permutation(m), batches):
        if len(rows):
            for name, each in packed([names[i] for i in rows], X[rows], w[rows], r[rows]).items():
                parts.setdefault(name, []).append(each)
    whole = packed(names, X, w, r)
    assert {name: arms.merge(each) for name, each in parts.items()} == {n: arms.merge([b]) for n, b in whole.items()}
    assert {name: arms.merge(each) for name, each in parts.items()} == whole
    for blobs in parts.values():  # grouped otherwise
        left, right = blobs[: len(blobs) // 2 + 1], blobs[len(blobs) // 2 + 1 :]
        assert arms.merge([arms.merge(left), *right]) == arms.merge([*right, *left])


def test_a_retraction_restores_the_bytes() -> None:
    names, X, _, r = impressions(2000, 1, 16, 3)
    before = packed(names, X, np.ones(2000), r)["arm-0"]
    x = np.array([[0.0, -0.0, 1 / 4096, -7.3, *np.linspace(-8, 8, 12)]])
    enters, leaves = (packed(["arm-0"], x, np.array([w]), np.array([0.3]))["arm-0"] for w in (1.0, -1.0))
    assert arms.merge([arms.merge([before, enters]), leaves]) == before
    assert arms.merge([enters, leaves]) == bytes(len(before))


def test_zeros_have_one_sign() -> None:
    retracted = packed(["a"], np.array([[0.0, 1.0]]), np.array([-1.0]), np.array([0.0]))["a"]
    assert retracted == struct.pack("<6d", 0, 0, -1, 0, 0, -1)
    minus = Statistics(np.full((1, 1, 1), -0.0), np.full((1, 1), -0.0), np.array([-0.0]))
    assert arms.pack(minus) == [bytes(24)]
    assert arms.merge([struct.pack("<3d", -0.0, -0.0, -0.0)]) == bytes(24)


def test_sums_stay_exact_up_to_four_million_extreme_impressions() -> None:
    largest = packed(["a"], np.array([[8.0, -8.0]]), np.array([4e6]), np.array([16.0]))["a"]
    smallest = packed(["a"], np.full((1, 2), 1 / 4096), np.array([1.0]), np.array([1 / 4096]))["a"]
    ends = arms.unpack([arms.merge([largest, smallest])])
    assert Fraction(ends.b[0, 0]) == 4_000_000 * 8 * 16 + Fraction(1, 2**24)
    assert Fraction(ends.A[0, 0, 1]) == -4_000_000 * 8 * 8 + Fraction(1, 2**24)


@pytest.mark.parametrize("d", [1, 2, 16, 32, 256])
def test_packing_loses_nothing(d: int) -> None:
    names, X, w, r = impressions(40, 3, d, d)
    _, statistics = arms.partials(names, X, w, r)
    blobs = arms.pack(statistics)
    assert {len(blob) for blob in blobs} == {4 * (d + 1) * (d + 2)}
    for got, want in zip(arms.unpack(blobs), statistics, strict=True):
        np.testing.assert_array_equal(got, want)
    posterior = Posterior(statistics.b, statistics.A, statistics.n)
    for got, want in zip(arms.unpack_posterior(arms.pack_posterior(posterior)), posterior, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_posterior_in_redis_by_hand() -> None:
    blob = struct.pack("<6d", 0.5, -0.1, 0.25, 3, 4, 7)
    theta, A_inv, n = arms.unpack_posterior([blob])
    assert (theta.tolist(), A_inv.tolist(), n.tolist()) == ([[3, 4]], [[[0.5, -0.1], [-0.1, 0.25]]], [7])


@pytest.mark.parametrize("ridge", [0.5, 1.0, 3.0])
def test_solve_is_the_normal_equation_and_the_sequential_update(ridge: float) -> None:
    names, X, _, r = impressions(600, 5, 16, 1)
    X, r = arms.quantise(X), arms.quantise(r, 16)
    _, statistics = arms.partials(names, X, np.ones(600), r)
    got = arms.solve(statistics, ridge)
    for i, name in enumerate(dict.fromkeys(names)):
        rows = [row for row in range(600) if names[row] == name]
        theta = np.linalg.solve(X[rows].T @ X[rows] + ridge * np.eye(16), X[rows].T @ r[rows])
        np.testing.assert_allclose(got.theta[i], theta, rtol=0, atol=1e-9)
        theta, A_inv = sherman_morrison(X[rows], r[rows], ridge)
        np.testing.assert_allclose(got.theta[i], theta, rtol=0, atol=1e-9)
        np.testing.assert_allclose(got.A_inv[i], A_inv, rtol=0, atol=1e-9)
        assert got.n[i] == len(rows)
    np.testing.assert_array_equal(got.A_inv, got.A_inv.transpose(0, 2, 1))


def test_a_posterior_is_the_same_bytes_in_any_batch() -> None:
    statistics = list(packed(*impressions(5_000, 300, 5, seed=4)).values())
    alone = [arms.pack_posterior(arms.solve(arms.unpack([each]), 2.0))[0] for each in statistics]
    assert arms.solve_packed(statistics, 2.0) == alone
    assert arms.solve_packed([], 2.0) == []


def test_forgetting_halves_each_period() -> None:
    def one(n: float) -> bytes:
        return arms.pack(Statistics(np.full((1, 1, 1), 4 * n), np.full((1, 1), 2 * n), np.array([n])))[0]

    by_period = {7: one(16), 10: one(1), 9: one(2), 6: one(1000)}
    assert arms.forget(by_period, 4) == one(16 / 8 + 2 / 2 + 1)
    assert arms.forget(by_period, 1) == one(1)
    assert arms.forget({0: one(3)}, 8) == one(3)
    reverse = dict(sorted(by_period.items(), reverse=True))
    assert arms.forget(reverse, 5) == arms.forget(by_period, 5) == one(1000 / 16 + 4)


def test_stack_gives_unknown_arms_the_prior() -> None:
    known = Posterior(np.array([1.0, 2.0]), np.array([[0.5, 0.1], [0.1, 0.5]]), np.array(9.0))
    got = arms.stack({"a": known}, ["z", "a"], 2, ridge=4.0)
    assert got.theta.tolist() == [[0, 0], [1, 2]]
    assert got.A_inv.tolist() == [[[0.25, 0], [0, 0.25]], [[0.5, 0.1], [0.1, 0.5]]]
    assert got.n.tolist() == [0, 9]
    assert arms.means(got, np.array([[1.0, 1], [1, 1]])).tolist() == [0, 3]
    assert arms.variances(got, np.array([[1.0, 1], [1, 2]])).tolist() == [0.5, 2.9]
    rounded = got._replace(A_inv=np.full((2, 2, 2), -1e-20))  # a variance of 0, but for rounding
    assert arms.variances(rounded, np.ones((2, 2))).tolist() == [0, 0]


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"ridge must be > 0, got 0"):
        arms.solve(Statistics(np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros(1)), 0)
    with pytest.raises(ValueError, match=r"packed arms must all have one length, got \[24, 48\] bytes"):
        arms.merge([bytes(24), bytes(48)])
    for size in (0, 8, 32, 49):
        with pytest.raises(ValueError, match=rf"a packed arm must have 4 \(d \+ 1\) \(d \+ 2\) bytes, got {size}"):
            arms.unpack([bytes(size)])
    with pytest.raises(ValueError, match=r"periods must be >= 1, got 0"):
        arms.forget({1: bytes(24)}, 0)
    with pytest.raises(ValueError, match=r"theta must have 3 values as the context, got 2 for arm 'a'"):
        arms.stack({"a": Posterior(np.zeros(2), np.eye(2), np.array(1.0))}, ["a"], 3, 1.0)
