"""A version's item factors -> a FAISS index by inner product, of the kind that suits its size.

source     the version that `register` made
transform  flat (exact) up to night.index_flat_max items, HNSW up to night.index_hnsw_max, IVF-PQ above. The search of
           HNSW and IVF-PQ is widened until it finds night.index_recall of what the flat index finds
sink       {home}/indexes/{version}/ index.faiss, manifest.json; index/index.json in the night

Recall is recall@20 over 200 queries, drawn with the second moments of the users' vectors (user_gram.npy). Candidates of
IVF-PQ are scored again with the whole factors: its codes choose the candidates, not their order.

Run: headrace run index --date 2026-01-31
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import faiss as untyped
import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import NightSettings, load
from headrace.infra.versions import publication, store
from headrace.infra.versions.store import Contents, Model
from headrace.jobs.batch import night, register
from headrace.udfs.factors.als import Int, Real

faiss: Any = untyped  # its types leave out half of it
STEP, FILE, MANIFEST = "index", "index.faiss", "manifest.json"
FLAT, HNSW, IVF_PQ = "flat", "hnsw", "ivf_pq"
AT, QUERIES, SEED = 20, 200, 1
LINKS, BUILDING = 32, 80  # of HNSW: M, efConstruction
SAMPLE, CLUSTERED = 40, 10  # of IVF-PQ: vectors per cell to learn cells and codes from, iterations
WIDEST = {HNSW: 4096, IVF_PQ: 1024}
REFINED = 25  # candidates of IVF-PQ for each item wanted, which are scored again


class IndexManifest(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    kind: str  # flat, hnsw or ivf_pq
    items: int
    width: int  # of a search: efSearch of HNSW, cells visited of IVF-PQ
    recall: float  # of the `at` best, against flat
    at: int
    seconds: float
    bytes: int
    sha256: dict[str, str]  # of the index, and of its sources items.json and item_factors.npy


class Index(NamedTuple):
    """An index ready to search. factors: of the items, to score again with; None where the index keeps them itself."""

    index: Any
    kind: str
    factors: Real | None

    def search(self, X: Real, k: int, listed: Int | None = None) -> tuple[NDArray[np.float32], Int]:
        """Returns (scores, items), each (users, k), best first; -1 where fewer than k items were found.

        listed: the only items to search among; None: all.
        """
        X = np.ascontiguousarray(X, np.float32)
        only = self._only(listed)
        if self.factors is None:
            return self.index.search(X, k, params=only)  # type: ignore[no-any-return]
        _, items = self.index.search(X, min(REFINED * k, len(self.factors)), params=only)
        scores = np.einsum("uf,ukf->uk", X, self.factors[items])
        scores[items < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(items, order, 1)

    def _only(self, listed: Int | None) -> Any:
        if listed is None or len(listed) == self.index.ntotal:
            return None
        chosen = np.zeros(-(-self.index.ntotal // 8) * 8, bool)
        chosen[listed] = True
        selector = faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        if self.kind == HNSW:
            return faiss.SearchParametersHNSW(sel=selector, efSearch=self.index.hnsw.efSearch)
        if self.kind == IVF_PQ:
            return faiss.SearchParametersIVF(sel=selector, nprobe=self.index.nprobe)
        return faiss.SearchParameters(sel=selector)


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load().night
    version = register.version(tonight)
    if publication.index(version).is_dir() and tonight.is_left(STEP, publication.index(version)):
        return
    about = write(store.load(version), settings)
    with tonight.writing(STEP) as folder:
        durable.write(folder / "index.json", msgspec.json.encode(about))
    size = f"recall@{about.at} {about.recall:.3f}, {about.bytes / 1e6:,.0f} MB"
    print(f"{about.kind} index of {about.items:,} items, {size}")


def write(model: Model, settings: NightSettings) -> IndexManifest:
    """Builds the model's index and writes it to its folder, whole or not at all."""
    place = publication.index(model.manifest.version)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
    try:
        began_s = time.monotonic()
        built, width, recall = build(model, settings)
        faiss.write_index(built.index, str(draft / FILE))
        hashes = {FILE: durable.sha256(draft / FILE)} | _of_model(model)
        manifest = IndexManifest(
            version=model.manifest.version, kind=built.kind, items=built.index.ntotal, width=width, recall=recall,
            at=AT, seconds=round(time.monotonic() - began_s, 3), bytes=(draft / FILE).stat().st_size, sha256=hashes,
        )  # fmt: skip
        durable.write(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        durable.sync(draft / FILE)
        draft.chmod(0o755)
        with durable.locked(place.parent):
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def read(model: Model) -> Index:
    """Returns the model's index. Raises HeadraceError if there is none, or if it is of other factors or items."""
    place = publication.index(model.manifest.version)
    if not (place / MANIFEST).is_file():
        raise HeadraceError(f"no index of {model.manifest.version} in {place}: `headrace run index` makes it")
    hashes = {FILE: durable.sha256(place / FILE)} | _of_model(model)
    for name, expected in _manifest(place).sha256.items():
        if hashes[name] != expected:
            raise HeadraceError(f"{place}: the index must be that of {name} {hashes[name]}, got that of {expected}")
    return opened(place, model.contents.item_factors)


def opened(place: Path, factors: Real) -> Index:
    """Opens an index that `read` has checked."""
    manifest = _manifest(place)
    index = faiss.read_index(str(place / FILE), faiss.IO_FLAG_MMAP if manifest.kind == IVF_PQ else 0)
    _widen(index, manifest.kind, manifest.width)
    return Index(index, manifest.kind, factors if manifest.kind == IVF_PQ else None)


def _manifest(place: Path) -> IndexManifest:
    return msgspec.json.decode((place / MANIFEST).read_bytes(), type=IndexManifest)


def _of_model(model: Model) -> dict[str, str]:
    return {name: model.manifest.sha256[name] for name in (store.ITEMS, store.FACTORS)}


def kind_of(items: int, settings: NightSettings) -> str:
    if items <= settings.index_flat_max:
        return FLAT
    return HNSW if items <= settings.index_hnsw_max else IVF_PQ


def build(model: Model, settings: NightSettings) -> tuple[Index, int, float]:
    """Returns (index, width of a search, recall). Raises HeadraceError if no width reaches night.index_recall."""
    contents = model.contents
    Y = np.ascontiguousarray(contents.item_factors)
    kind = kind_of(len(Y), settings)
    built = Index(_BUILD[kind](Y), kind, Y if kind == IVF_PQ else None)
    if kind == FLAT:
        return built, 0, 1.0
    X = queries(contents, model.manifest.dims["users"])
    best = exact(X, Y)
    for width in (2**power for power in range(4, 13)):
        _widen(built.index, kind, width)
        recall = overlap(built.search(X, AT)[1], best)
        if recall >= settings.index_recall:
            return built, width, recall
        if width >= WIDEST[kind]:
            break
    rule = f"{kind} must reach night.index_recall: {settings.index_recall}, got {recall:.3f}"
    raise HeadraceError(f"{rule}; lower it, or raise night.index_{'flat' if kind == HNSW else 'hnsw'}_max")


def queries(contents: Contents, users: int) -> NDArray[np.float32]:
    """Draws (QUERIES, f) normal vectors with the users' second moments, X'X / n."""
    f = contents.user_gram.shape[0]
    draws = np.random.default_rng(SEED).standard_normal((QUERIES, f))
    eigenvalues, rotation = np.linalg.eigh(contents.user_gram / max(users, 1))
    return np.asarray(draws * np.sqrt(np.maximum(eigenvalues, 0)) @ rotation.T, np.float32)


def exact(X: Real, Y: Real) -> Int:
    return flat(Y).search(X, min(AT, len(Y)))[1]  # type: ignore[no-any-return]


def overlap(found: Int, best: Int) -> float:
    """Returns the recall: the mean share of the best items that were found."""
    return float(np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, best, strict=True)]))


def flat(Y: Real) -> Any:
    index = faiss.IndexFlatIP(Y.shape[1])
    index.add(Y)
    return index


def _hnsw(Y: Real) -> Any:
    index = faiss.IndexHNSWFlat(Y.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILDING
    index.add(Y)
    return index


def _ivf_pq(Y: Real) -> Any:
    """Builds IVF-PQ: a code byte for two numbers of a vector, and about as many cells as the root of the items."""
    m, f = Y.shape
    cells = int(np.clip(2 ** np.round(np.log2(m) / 2), 16, 65_536))
    codes = f // 2 if f % 2 == 0 else f
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(f), f, cells, codes, 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = CLUSTERED
    chosen = np.random.default_rng(SEED).choice(m, min(m, SAMPLE * cells), replace=False)
    index.train(Y[np.sort(chosen)])
    index.add(Y)
    return index


_BUILD = {FLAT: flat, HNSW: _hnsw, IVF_PQ: _ivf_pq}


def _widen(index: Any, kind: str, width: int) -> None:
    if kind == HNSW:
        index.hnsw.efSearch = width
    elif kind == IVF_PQ:
        index.nprobe = width


if __name__ == "__main__":
    night.run(main, night.arguments(__doc__))
