"""Weights between items against dense matrices, in slices of any size."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy")

from headrace.jobs.batch.training import neighbourhoods
from headrace.udfs.factors.als import Rows
from headrace.udfs.recommenders.sparse_scorer import Weights

pytestmark = pytest.mark.spark  # what runs in the batch environment
USERS, ITEMS = 80, 30


def taken(seed: int = 1) -> tuple[Rows, NDArray[Any]]:
    R = (np.random.default_rng(seed).random((USERS, ITEMS)) < 0.2).astype(float)
    R[0] = 0
    owners, columns = np.nonzero(R)
    indptr = np.concatenate([[0], np.cumsum(R.sum(axis=1))]).astype(np.int64)
    return Rows(indptr, columns.astype(np.int64), np.ones(len(owners))), R


def dense(weights: Weights) -> NDArray[Any]:
    W = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        own = slice(weights.indptr[item], weights.indptr[item + 1])
        assert (np.diff(weights.columns[own]) > 0).all()
        W[item, weights.columns[own]] = weights.values[own]
    return W


@pytest.mark.parametrize("pairs", [1, 200, 10**9])
@pytest.mark.parametrize(("n", "shrink"), [(5, 0.0), (5, 3.0), (ITEMS, 1.0)])
def test_neighbours_are_those_of_the_highest_cosine(
    pairs: int, n: int, shrink: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbourhoods, "PAIRS", pairs)
    rows, R = taken()
    both = R.T @ R
    cosine = both / np.sqrt(np.outer(np.diag(both), np.diag(both))) * (both / (both + shrink + 1e-300))
    np.fill_diagonal(cosine, 0)
    for item in range(ITEMS):
        order = np.lexsort((np.arange(ITEMS), -cosine[item]))
        cosine[item, order[n:]] = 0
    np.testing.assert_allclose(dense(neighbourhoods.cosines(rows, ITEMS, n, shrink)), cosine, rtol=1e-6)


@pytest.mark.parametrize("block", [1, 1 << 24])
def test_the_autoencoder_is_its_equation(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "DENSE", block)
    rows, R = taken(2)
    P = np.linalg.inv(R.T @ R + 7.0 * np.eye(ITEMS))
    expected = -P / np.diag(P)
    np.fill_diagonal(expected, 0)
    baskets = neighbourhoods.baskets(rows, ITEMS).astype(np.float64)
    np.testing.assert_allclose(dense(neighbourhoods.autoencoder(baskets, 7.0, ITEMS)), expected, rtol=1e-5, atol=1e-9)
    for item, row in enumerate(dense(neighbourhoods.autoencoder(baskets, 7.0, 4))):
        best = np.sort(np.argsort(-np.abs(expected[item]))[:4])
        assert np.flatnonzero(row).tolist() == best.tolist()


@pytest.mark.parametrize("size", [499, 500, 501, 2_000])
def test_a_basket_counts_with_500_items_taken_evenly(size: int) -> None:
    rows = Rows(np.array([0, size]), np.arange(size), np.ones(size))
    kept = np.sort(neighbourhoods.baskets(rows, 2_000).indices)
    assert len(kept) == min(size, 500)
    assert np.ptp(np.diff(kept)) <= 1
    assert (kept[0], kept[-1]) == (0, size - 1)
