"""The index: its kind, its recall, and that it finds listed items alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.infra.versions import factor_version, model_files, publication, store
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.store import Model
from headrace.udfs.factors import als
from headrace.udfs.factors.diversity import DiversityRule
from headrace.udfs.recommenders.nightly_lists import ListWish

pytestmark = pytest.mark.spark
MOMENTS = 100.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))


def model(items: int, factors: int = 16, left_out: tuple[str, ...] = ()) -> Model:
    """Makes items in clusters, of uneven lengths, as trained ones are."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(50, factors))
    Y = centres[rng.integers(50, size=items)] + 0.7 * rng.normal(size=(items, factors))
    Y *= rng.lognormal(0, 0.3, (items, 1))
    names = [f"i{n:04}" for n in range(items)]
    contents = FactorContents(Y.astype(np.float32), MOMENTS * np.cov(centres.T), names, [], left_out)
    described: dict[str, Any] = {"parameters": {"objective": als.ials()._asdict()}, "lineage": {}, "users": 100}
    manifest = factor_version.write(contents, 1, {}, "v1", kind="als", **described)
    return store.load(manifest.version)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
@pytest.mark.parametrize("every", [1, 3])
def test_both_find_as_much_of_what_is_listed_as_they_say(kind: str, every: int) -> None:
    """As they are asked: 120 items of users, 21 of similar ones; also where two thirds of the items are left out."""
    from headrace.jobs.batch import index

    absent = tuple(f"i{n:04}" for n in range(4_000) if n % every)
    made, asked = model(4_000, left_out=absent), {index.BEST: 120, index.ALIKE: 21}
    sizes = {"flat": (10**9, 0), "hnsw": (0, 10**9), "ivf_pq": (0, 0)}[kind]
    settings = load().night.model_copy(update={"index_flat_max": sizes[0], "index_hnsw_max": sizes[1]})
    manifest = index.write(made, asked, settings)
    assert (manifest.kind, manifest.items) == (kind, -(-4_000 // every))
    assert index.read(made) == index.fit(made, ListWish(20, 60, DiversityRule(1, 1))) == manifest
    if kind != "flat":
        for wish in (ListWish(21, 60, DiversityRule(1, 1)), ListWish(20, 61, DiversityRule(1, 1))):
            with pytest.raises(HeadraceError, match=r"must be measured at (22|122) items, got (21|120): `headrace run"):
                index.fit(made, wish)
    for file, (Y, X) in index.vectors(made).items():
        about, found = manifest.searched[file], index.opened(publication.index("v1"), file, Y)
        assert about.at == asked[file]
        assert about.recall >= settings.index_recall
        every_score: Any = X.astype(np.float64) @ Y.T.astype(np.float64)
        best = np.argsort(-every_score, axis=1, kind="stable")[:, : about.at]
        scores, rows = found.search(X, about.at)
        told = np.mean([len({*rows[n]} & {*best[n]}) / about.at for n in range(len(X))])  # none are equal here
        assert told == pytest.approx(about.recall, abs=0.01)
        np.testing.assert_allclose(scores, np.take_along_axis(every_score, rows, 1), rtol=1e-4, atol=1e-4)


def test_an_index_of_other_rules_or_an_earlier_release_is_refused() -> None:
    from headrace.jobs.batch import index

    made = model(50, left_out=("i0007",))
    before = made.manifest.sha256["left_out.json"]
    index.write(made, {index.BEST: 20, index.ALIKE: 21}, load().night)
    made.manifest.sha256["left_out.json"] = "4"
    with pytest.raises(HeadraceError, match=rf"the index must be that of left_out\.json 4, got that of {before}"):
        index.read(made)
    (publication.index("v1") / index.MANIFEST).write_text('{"version": "v1", "kind": "flat", "width": 0}')
    with pytest.raises(HeadraceError, match="is of an earlier release: `headrace run index --again` makes it"):
        index.read(made)


def test_of_equal_items_it_does_not_matter_which_are_found() -> None:
    """40 groups of 50 items of one direction, and 100 that nobody wanted: an index that is right is not refused."""
    from headrace.jobs.batch import index

    made = model(2_600)
    Y = np.load(made.folder / model_files.FACTORS)
    Y[:2_000] = np.repeat(Y[:40], 50, axis=0) * np.random.default_rng(1).uniform(0.5, 2, (2_000, 1)).astype(np.float32)
    Y[2_500:] = 0
    np.save(made.folder / model_files.FACTORS, Y)
    units, X = index.vectors(made)[index.ALIKE]
    assert np.any(X != 0, axis=1).all()
    _, about = index.build(units, X, index.HNSW, 21, 0.95)
    assert about.recall >= 0.95


def test_the_kind_goes_by_size() -> None:
    from headrace.jobs.batch import index

    settings = load().night
    sizes = (1, 100_000, 100_001, 2_000_000, 2_000_001)
    assert [index.kind_of(size, settings) for size in sizes] == ["flat", "flat", "hnsw", "hnsw", "ivf_pq"]


def test_a_recall_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.jobs.batch import index

    Y, X = index.vectors(model(2_000))[index.BEST]
    monkeypatch.setattr(index, "WIDEST", {"hnsw": 16})
    with pytest.raises(HeadraceError, match=r"hnsw must reach night\.index_recall: 1\.1, got [01]\.\d+"):
        index.build(Y, X, index.HNSW, 20, 1.1)


def test_queries_have_the_users_second_moments() -> None:
    from headrace.jobs.batch import index

    made = model(50, factors=3)
    _, X = index.vectors(made)[index.BEST]
    np.testing.assert_allclose(X.T @ X / len(X), np.load(made.folder / model_files.GRAM) / 100, atol=0.5)
