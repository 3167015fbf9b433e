"""The index: its kind, its recall, and that it finds listed items alone."""

from typing import Any

import numpy as np
import pytest

from headrace.infra.settings import load
from headrace.infra.versions.store import Contents, Manifest, Model

pytestmark = pytest.mark.spark


def model(items: int, factors: int = 16) -> Model:
    """Makes items in clusters, of uneven lengths, as trained ones are."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(50, factors))
    Y = centres[rng.integers(50, size=items)] + 0.7 * rng.normal(size=(items, factors))
    Y *= rng.lognormal(0, 0.3, (items, 1))
    contents = Contents(Y.astype(np.float32), 100.0 * np.cov(centres.T), [f"i{n}" for n in range(items)], [])
    dims = {"items": items, "factors": factors, "users": 100}
    described: dict[str, Any] = {"parameters": {}, "lineage": {}, "metrics": {}, "created_ms": 0, "commit": ""}
    return Model(Manifest(version="v1", kind="als", dims=dims, sha256={}, **described), contents)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
def test_it_finds_as_much_as_it_says_and_nothing_that_is_not_listed(kind: str) -> None:
    from headrace.jobs.batch import index

    made = model(4_000)
    Y = made.contents.item_factors.astype(np.float64)
    sizes = {"flat": (10**9, 0), "hnsw": (0, 10**9), "ivf_pq": (0, 0)}[kind]
    settings = load().night.model_copy(update={"index_flat_max": sizes[0], "index_hnsw_max": sizes[1]})
    found, _, recall = index.build(made, settings)
    assert found.kind == kind
    assert recall >= settings.index_recall
    X = index.queries(made.contents, 100).astype(np.float64)
    best = np.argsort(-(X @ Y.T), axis=1, kind="stable")
    scores, items = found.search(X, 20)
    assert np.mean([len({*items[n]} & {*best[n, :20]}) / 20 for n in range(len(X))]) == pytest.approx(recall, abs=0.01)
    np.testing.assert_allclose(scores, (X @ Y.T)[np.arange(len(X))[:, None], items], rtol=1e-4, atol=1e-4)
    listed = np.arange(1, 4_000, 3)
    _, items = found.search(X, 20, listed)
    assert set(items.ravel().tolist()) <= set(listed.tolist()) | {-1}
    some = [[item for item in row if item % 3 == 1][:20] for row in best.tolist()]
    assert np.mean([len({*items[n]} & {*some[n]}) / 20 for n in range(len(X))]) > 0.8


def test_the_kind_goes_by_size() -> None:
    from headrace.jobs.batch import index

    settings = load().night
    sizes = (1, 100_000, 100_001, 2_000_000, 2_000_001)
    assert [index.kind_of(size, settings) for size in sizes] == ["flat", "flat", "hnsw", "hnsw", "ivf_pq"]


def test_a_recall_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.infra.errors import HeadraceError
    from headrace.jobs.batch import index

    settings = load().night.model_copy(update={"index_flat_max": 0, "index_recall": 1.1})
    monkeypatch.setattr(index, "WIDEST", {"hnsw": 16})
    with pytest.raises(HeadraceError, match=r"hnsw must reach night\.index_recall: 1\.1, got 0\.\d+"):
        index.build(model(2_000), settings)


def test_queries_have_the_users_second_moments() -> None:
    from headrace.jobs.batch import index

    made = model(50, factors=3)
    X = np.concatenate([index.queries(made.contents, 100)])
    np.testing.assert_allclose(X.T @ X / len(X), made.contents.user_gram / 100, atol=0.5)
