"""A node's arithmetic and the server's, against numpy and the definitions."""

import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headrace.udfs.federated import accountant, packing, round_arithmetic
from headrace.udfs.federated.accountant import Budget
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum
from headrace.udfs.federated.plan import plan
from headrace.udfs.federated.round_arithmetic import FedAdam, FedAvg

Float = NDArray[np.float64]
DONE = DiscreteGaussianSum(dimension=500, clip=1.0, scale=1000.0, node_sigma=20, quorum=10)


def transform(n: int, seed: bytes) -> Float:
    return np.array([round_arithmetic.rotate(unit, seed) for unit in np.eye(n)]).T


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 64, 101])
def test_the_rotation_is_orthonormal_and_spreads(n: int) -> None:
    """Its matrix: rows of norm 1 at right angles, no entry above sqrt(2 / n), which the width of a field counts on."""
    matrix = transform(n, b"seed")
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(n), atol=1e-12)
    assert np.abs(matrix).max() <= math.sqrt(2 / n) + 1e-12 or n == 1
    x = np.random.default_rng(n).standard_normal(n)
    np.testing.assert_allclose(round_arithmetic.unrotate(matrix @ x, b"seed"), x, atol=1e-12)
    assert n < 7 or not np.allclose(matrix, transform(n, b"other"))


def test_clip() -> None:
    np.testing.assert_allclose(round_arithmetic.clip(np.array([3.0, 4.0]), 2.5), [1.5, 2.0])
    np.testing.assert_array_equal(round_arithmetic.clip(np.array([0.3, 0.4]), 2.5), [0.3, 0.4])
    np.testing.assert_array_equal(round_arithmetic.clip(np.zeros(2), 1.0), [0, 0])
    for hostile in (math.nan, math.inf, 1e200):
        assert np.linalg.norm(round_arithmetic.clip(np.array([hostile, 1.0]), 1.0)) <= 1 + 1e-12
    with pytest.raises(ValueError, match="norm must be > 0, got 0"):
        round_arithmetic.clip(np.ones(2), 0)


@settings(max_examples=50)
@given(st.integers(1, 400), st.floats(0.01, 1e4), st.integers(0, 2**32))
def test_no_rounded_update_is_longer_than_the_accountant_says(d: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    done = DONE._replace(dimension=d, scale=scale, clip=2.0)
    x = round_arithmetic.clip(rng.standard_normal(d) * 10 ** rng.uniform(-3, 3), done.clip) * scale
    rounded = round_arithmetic.randomised_round(x, round_arithmetic.rounded_norm(done), rng.bytes)
    assert np.linalg.norm(rounded) <= round_arithmetic.rounded_norm(done)
    assert np.abs(rounded - x).max() < 1


def test_rounding_has_the_number_as_its_mean_and_draws_again_over_the_bound() -> None:
    x, rng = np.array([0.25, -1.5, 3.0]), np.random.default_rng(5)
    drawn = np.array([round_arithmetic.randomised_round(x, 9.0, rng.bytes) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), x, atol=0.04)
    assert set(map(tuple, drawn.tolist())) == {(a, b, 3) for a in (0, 1) for b in (-1, -2)}
    short = {tuple(round_arithmetic.randomised_round(x, math.sqrt(11), rng.bytes).tolist()) for _ in range(200)}
    assert short == {(0, -1, 3), (1, -1, 3)}


def test_the_bound_of_the_norm_by_hand() -> None:
    """c = 30, d = 400, beta = e^-1/2: 900 + 100 + 1 x (30 + 10) = 1040; without luck, 30 + 20."""
    done = DiscreteGaussianSum(400, 3.0, 10.0, 0, 1)
    assert round_arithmetic.rounded_norm(done) == pytest.approx(math.sqrt(1040))
    assert round_arithmetic.rounded_norm(done._replace(beta=5e-324)) == 50


def test_shares_of_noise_make_up_the_variance() -> None:
    """Also when more nodes come than the quorum: never less than was accounted."""
    assert round_arithmetic.node_sigma(100.0, 4) == 50
    assert round_arithmetic.node_sigma(100.0, 3) == 58
    rng = np.random.default_rng(2)
    for nodes, quorum in ((10, 10), (16, 10)):
        total = sum(round_arithmetic.share_of_noise(100.0, quorum, rng.bytes, 50_000) for _ in range(nodes))
        wanted = nodes * round_arithmetic.node_sigma(100.0, quorum) ** 2
        assert np.var(total) == pytest.approx(wanted, rel=0.03)
        assert wanted >= 100.0**2


def test_the_opened_sum_is_the_mean_with_the_accounted_variance() -> None:
    """Packed, summed and opened; the error's variance is noise and rounding, (sigma^2 + <= 1/4) / nodes scale^2."""
    rng, nodes = np.random.default_rng(3), 25
    updates = rng.standard_normal((nodes, DONE.dimension)) / 40
    width = round_arithmetic.field_width(nodes, DONE)
    layout = packing.layout(width.bits)
    total = np.zeros((layout.chunks(DONE.dimension), layout.slots), np.int64)
    for update in updates:
        sent = round_arithmetic.protect(update, DONE, b"round 1", rng.bytes)
        total += packing.pack(sent, layout, np.zeros((len(total), packing.TAGS), np.int64))
    values, _ = packing.unpack(total, layout, DONE.dimension)
    error = round_arithmetic.mean(values, nodes, DONE, b"round 1") - updates.mean(axis=0)
    wanted = (DONE.node_sigma**2 + 0.2) / nodes / DONE.scale**2
    assert np.mean(error**2) == pytest.approx(wanted, rel=0.2)
    with pytest.raises(ValueError, match="update must have the shape"):
        round_arithmetic.protect(updates[0][1:], DONE, b"", os.urandom)


def test_no_sum_leaves_its_field() -> None:
    """The worst that is promised: all nodes send one update, of the full norm, in one coordinate."""
    rng, nodes = np.random.default_rng(4), 40
    width = round_arithmetic.field_width(nodes, DONE)
    update = np.eye(1, DONE.dimension).ravel() * 5
    largest = 0
    for seed in range(5):
        total = sum(round_arithmetic.protect(update, DONE, b"%d" % seed, rng.bytes) for _ in range(nodes))
        largest = max(largest, int(np.abs(total).max()))
    assert largest < 2 ** (width.bits - 1)
    assert largest > 2 ** (width.bits - 1) / 8  # and the field is not far wider than it must be


def test_field_width_by_hand() -> None:
    """d = 2, one node, no noise: variance 2 (clip scale)^2 / d = 100, so a room of 62 fails with 4 exp(-62^2 / 200)."""
    width = round_arithmetic.field_width(1, DiscreteGaussianSum(2, 1.0, 10.0, 0, 1), 1e-6)
    assert width.bits == 7
    assert width.failure == pytest.approx(4 * math.exp(-(62**2) / 200))


@pytest.mark.parametrize("nodes", [50, 1000])
def test_a_plan_for_epsilon_8_puts_three_fields_in_a_slot(nodes: int) -> None:
    found = plan(107_000, 1.0, nodes, nodes, Budget(8.0, 1e-5), 10)
    assert found.layout.fields == 3
    assert found.failure < 1e-6
    assert found.inflation <= 1.2
    assert accountant.epsilon([found.done] * 10, 1e-5) <= 8
    assert round_arithmetic.field_width(nodes, found.done).bits <= found.layout.width
    with pytest.raises(ValueError, match="quorum must be"):
        plan(10, 1.0, 5, 6, None, 1)


def test_fedavg_adds_the_mean() -> None:
    state = round_arithmetic.new_state(np.array([1.0, 2.0]), FedAvg())
    assert round_arithmetic.fold(state, np.array([0.5, -1.0]), FedAvg()).model.tolist() == [1.5, 1.0]
    assert round_arithmetic.fold(state, np.array([0.5, -1.0]), FedAvg(0.5)).model.tolist() == [1.25, 1.5]


def test_fedadam_is_the_paper_s_algorithm_2_in_a_loop() -> None:
    rule = FedAdam(0.1, 0.9, 0.99, 0.001)
    updates = np.random.default_rng(6).standard_normal((5, 3))
    state = round_arithmetic.new_state(np.zeros(3), rule)
    for update in updates:
        state = round_arithmetic.fold(state, update, rule)
    for j in range(3):
        x, m, v = 0.0, 0.0, 0.001**2
        for delta in updates[:, j]:
            m = 0.9 * m + 0.1 * delta
            v = 0.99 * v + 0.01 * delta * delta
            x += 0.1 * m / (math.sqrt(v) + 0.001)
        assert state.model[j] == pytest.approx(x, rel=1e-12)


def test_the_noise_of_a_model_is_what_rounds_left_in_it() -> None:
    assert round_arithmetic.model_noise([0.5, 0.25], np.zeros(3), FedAvg(2.0)) == 4 * 0.75
    rng, sigma = np.random.default_rng(8), 1e-3
    for rule in (FedAdam(0.3), FedAdam(0.01, beta1=0.5, beta2=0.9)):
        clean = noisy = round_arithmetic.new_state(np.zeros(20_000), rule)
        signal = sigma * rng.standard_normal(20_000)
        for _ in range(20):
            clean = round_arithmetic.fold(clean, signal, rule)
            noisy = round_arithmetic.fold(noisy, signal + sigma * rng.standard_normal(20_000), rule)
        left = float(np.mean((noisy.model - clean.model) ** 2))
        assert 0.8 < round_arithmetic.model_noise([sigma**2] * 20, noisy.variance, rule) / left < 2


def test_the_first_steps_of_fedadam_are_the_longest() -> None:
    rule, rng, sigma = FedAdam(0.3, beta1=0.0), np.random.default_rng(9), 1.0
    state = round_arithmetic.new_state(np.zeros(20_000), rule)
    for _ in range(8):
        state = round_arithmetic.fold(state, sigma * rng.standard_normal(20_000), rule)
    assert 0.8 < round_arithmetic.model_noise([sigma**2] * 8, state.variance, rule) / float(np.var(state.model)) < 2
