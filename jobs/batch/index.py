"""A version's listed items -> two FAISS indexes of the kind that suits their number: of factors, and of unit vectors.

source     the version that `register` made, without the items that no list may hold
transform  flat (exact) up to night.index_flat_max items, HNSW up to night.index_hnsw_max, IVF-PQ above. The search of
           HNSW and IVF-PQ is widened until it finds night.index_recall of what the flat index finds
sink       {home}/indexes/{version}/ index.faiss, similar.faiss, manifest.json; index/index.json in the night

A family whose score is no product of two vectors has no index; `precompute` then asks the model itself.

Both are by inner product: of factors for users' lists, of unit vectors, so by cosine, for similar items. Recall is
measured as each is used: at as many items as `precompute` asks for, over 200 queries. Those of users are drawn with the
second moments of the users' vectors (user_gram.npy); those of similar items are items. Candidates of IVF-PQ are scored
again with the whole vectors: its codes choose the candidates, not their order.

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
from headrace.infra.settings import NightSettings, Settings, load
from headrace.infra.versions import model_files, publication, rules, store
from headrace.infra.versions.store import Model
from headrace.jobs.batch import night, register
from headrace.jobs.batch.families import roster
from headrace.udfs.factors import als, diversity
from headrace.udfs.factors.als import Float, Int, Real
from headrace.udfs.recommenders.factor_scorer import WIDER
from headrace.udfs.recommenders.nightly_lists import ListWish

faiss: Any = untyped  # its types leave out half of it
STEP, MANIFEST = "index", "manifest.json"
BEST, ALIKE = "index.faiss", "similar.faiss"
FLAT, HNSW, IVF_PQ, NO_VECTORS = "flat", "hnsw", "ivf_pq", "none"
QUERIES, SEED = 200, 1
LINKS, BUILDING = 32, 80  # of HNSW: M, efConstruction
SAMPLE, CLUSTERED = 40, 10  # of IVF-PQ: vectors per cell to learn cells and codes from, iterations
TIED = 1e-5  # scores that differ by less, of the highest, are equal
WIDEST = {HNSW: 4096, IVF_PQ: 1024}
REFINED = 25  # candidates of IVF-PQ for each item wanted, which are scored again ...
AT_ONCE = 1 << 25  # ... so many numbers of them at a time


class Searched(msgspec.Struct, frozen=True):
    """What is known of one of the two."""

    width: int  # of a search: efSearch of HNSW, cells visited of IVF-PQ
    recall: float  # of the `at` best, against flat
    at: int
    bytes: int = 0


class IndexManifest(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    kind: str  # flat, hnsw, ivf_pq, or none for a family that has no vectors
    items: int  # that may be listed
    searched: dict[str, Searched]  # by file
    seconds: float
    sha256: dict[str, str]  # of the indexes, and of their sources in the version


class Index(NamedTuple):
    """An index ready to search. Y: its vectors, to score again with; None where the index keeps them itself."""

    index: Any
    kind: str
    Y: Real | None

    def search(self, X: Real, k: int) -> tuple[NDArray[np.float32], Int]:
        """Returns (scores, rows of Y), each (users, k), best first; -1 where fewer than k were found."""
        X = np.ascontiguousarray(X, np.float32)
        if self.Y is None:
            return self.index.search(X, k)  # type: ignore[no-any-return]
        asked = min(REFINED * k, len(self.Y))
        users = max(1, AT_ONCE // (asked * self.Y.shape[1]))
        parts = [self._refined(X[at : at + users], asked, k) for at in range(0, len(X), users)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _refined(self, X: Real, asked: int, k: int) -> tuple[NDArray[np.float32], Int]:
        _, rows = self.index.search(X, asked)
        scores: NDArray[Any] = np.einsum("uf,ukf->uk", X, self.Y[rows])  # type: ignore[index,arg-type]
        scores[rows < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def main(options: argparse.Namespace) -> None:
    tonight, settings = night.of(options), load().night
    version = register.version(tonight)
    if publication.index(version).is_dir() and tonight.is_left(STEP, publication.index(version)):
        return
    about = write(store.load(version), asked_for(load()), settings)
    with tonight.writing(STEP) as folder:
        durable.write(folder / "index.json", msgspec.json.encode(about))
    told = ", ".join(
        f"{file} recall@{each.at} {each.recall:.3f}, {each.bytes / 1e6:,.0f} MB"
        for file, each in about.searched.items()
    )
    print(f"{about.kind} index of {about.items:,} items: {told or 'the family has no vectors'}")


def asked_for(settings: Settings) -> dict[str, int]:
    """Returns how many items `precompute` asks each index for, with room for what was seen, and for the item itself."""
    return asked(settings.collaborative.top_n, rules.load(Path(settings.night.rules)).diversity.candidates)


def asked(n: int, candidates: int) -> dict[str, int]:
    return {BEST: WIDER * candidates, ALIKE: n + 1}


def write(model: Model, at: dict[str, int], settings: NightSettings) -> IndexManifest:
    """Builds the model's indexes and writes them to their folder, whole or not at all. at: of asked_for."""
    place = publication.index(model.manifest.version)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
    try:
        began_s, found = time.monotonic(), vectors(model)
        kind, searched = kind_of(len(listed(model)), settings) if found else NO_VECTORS, {}
        for file, (Y, X) in found.items():
            built, about = build(Y, X, kind, at[file], settings.index_recall)
            faiss.write_index(built.index, str(draft / file))
            searched[file] = msgspec.structs.replace(about, bytes=(draft / file).stat().st_size)
            durable.sync(draft / file)
        hashes = {file: durable.sha256(draft / file) for file in searched} | _of_model(model)
        manifest = IndexManifest(
            version=model.manifest.version, kind=kind, items=len(listed(model)), searched=searched,
            seconds=round(time.monotonic() - began_s, 3), sha256=hashes,
        )  # fmt: skip
        durable.write(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        draft.chmod(0o755)
        with durable.locked(place.parent):
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def listed(model: Model) -> Int:
    """Returns the places of the items that lists may hold, ascending."""
    absent = set(model.contents.left_out)
    return np.array([place for place, item in enumerate(model.contents.items) if item not in absent], np.int64)


def vectors(model: Model) -> dict[str, tuple[Real, Real]]:
    """Returns, by file, the vectors of the listed items and the queries that the recall is measured with.

    None are there for a family whose score is no product.
    """
    every = roster.load(model.folder).vectors()
    if every is None:
        return {}
    Y = np.ascontiguousarray(every[listed(model)])
    units = diversity.unit(Y)
    nonzero = units[np.any(units != 0, axis=1)]
    some = np.random.default_rng(SEED).choice(len(nonzero), min(QUERIES, len(nonzero)), replace=False)
    return {BEST: (Y, queries(_moments(model, Y))), ALIKE: (units, nonzero[np.sort(some)])}


def _moments(model: Model, Y: Real) -> Float:
    """Returns the second moments of the users' vectors, (f, f); those of the items where a family keeps no others."""
    path = model.folder / model_files.GRAM
    if path.is_file():
        return np.asarray(np.load(path) / max(model.manifest.dims["users"], 1))
    return als.gram(Y) / max(len(Y), 1)


def read(model: Model) -> IndexManifest:
    """Returns what is known of the model's indexes. Raises HeadraceError if there are none, or of other items."""
    place = publication.index(model.manifest.version)
    if not (place / MANIFEST).is_file():
        raise HeadraceError(f"no index of {model.manifest.version} in {place}: `headrace run index` makes it")
    try:
        manifest = _manifest(place)
    except msgspec.DecodeError:
        raise HeadraceError(f"{place} is of an earlier release: `headrace run index --again` makes it") from None
    hashes = {file: durable.sha256(place / file) for file in manifest.searched} | _of_model(model)
    for name, expected in manifest.sha256.items():
        if hashes.get(name) != expected:
            raise HeadraceError(f"{place}: the index must be that of {name} {hashes.get(name)}, got that of {expected}")
    return manifest


def fit(model: Model, wish: ListWish) -> IndexManifest:
    """As `read`. Raises HeadraceError also if the recall was measured for fewer items than the wish asks for."""
    manifest = read(model)
    for file, wanted in asked(wish.n, wish.candidates).items():
        if manifest.kind in (HNSW, IVF_PQ) and (at := manifest.searched[file].at) < min(wanted, manifest.items):
            raise HeadraceError(f"{file} must be measured at {wanted} items, got {at}: `headrace run index --again`")
    return manifest


def opened(place: Path, file: str, Y: Real) -> Index:
    """Opens one of the indexes that `read` has checked. Y: the vectors that it was built from."""
    manifest = _manifest(place)
    index = faiss.read_index(str(place / file), faiss.IO_FLAG_MMAP if manifest.kind == IVF_PQ else 0)
    _widen(index, manifest.kind, manifest.searched[file].width)
    return Index(index, manifest.kind, Y if manifest.kind == IVF_PQ else None)


def _manifest(place: Path) -> IndexManifest:
    return msgspec.json.decode((place / MANIFEST).read_bytes(), type=IndexManifest)


def _of_model(model: Model) -> dict[str, str]:
    hashes = model.manifest.sha256
    return {name: hashes[name] for name in (model_files.ITEMS, model_files.FACTORS, store.LEFT_OUT) if name in hashes}


def kind_of(items: int, settings: NightSettings) -> str:
    if items <= settings.index_flat_max:
        return FLAT
    return HNSW if items <= settings.index_hnsw_max else IVF_PQ


def build(Y: Real, X: Real, kind: str, at: int, wanted: float) -> tuple[Index, Searched]:
    """Returns an index of Y (items, f), and how it was searched: until the recall of the `at` best is as wanted.

    X (queries, f). Raises HeadraceError if no width reaches that.
    """
    built, at = Index(_BUILD[kind](Y), kind, Y if kind == IVF_PQ else None), min(at, len(Y))
    if kind == FLAT:
        return built, Searched(0, 1.0, at)
    best = flat(Y).search(X, at)[0]
    for width in (2**power for power in range(4, 13)):
        _widen(built.index, kind, width)
        recall = as_good(built.search(X, at)[0], best)
        if recall >= wanted:
            return built, Searched(width, recall, at)
        if width >= WIDEST[kind]:
            break
    rule = f"{kind} must reach night.index_recall: {wanted}, got {recall:.3f}"
    raise HeadraceError(f"{rule}; lower it, or raise night.index_{'flat' if kind == HNSW else 'hnsw'}_max")


def queries(moments: Float) -> NDArray[np.float32]:
    """Draws (QUERIES, f) normal vectors with these second moments, (f, f)."""
    draws = np.random.default_rng(SEED).standard_normal((QUERIES, len(moments)))
    eigenvalues, rotation = np.linalg.eigh(moments)
    return np.asarray(draws * np.sqrt(np.maximum(eigenvalues, 0)) @ rotation.T, np.float32)


def as_good(found: NDArray[np.float32], best: NDArray[np.float32]) -> float:
    """Returns the recall by scores, (queries, at): the mean share of those found that are no worse than the last best.

    Of items with equal vectors it does not matter which are found.
    """
    last = best[:, -1:] - TIED * np.abs(best).max(axis=1, keepdims=True, initial=0)
    return float(np.mean(found >= last)) if found.size else 1.0


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
