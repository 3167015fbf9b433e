"""The index of each kind (jobs/batch/index): queries/s, recall@20 and memory, beside the flat index.

Item factors are drawn, 64 numbers each, in 500 clusters and of uneven lengths, as trained ones are. Queries are drawn
with the centres' second moments, and asked one at a time, as a service does, and 64 at a time. For 5 million items the
flat index takes 1.3 GB, and a machine needs three times as much here.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, console, table
from headrace.infra.settings import load
from headrace.infra.versions import factor_version, store
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.store import Model
from headrace.jobs.batch import index
from headrace.jobs.batch.index import Index
from headrace.udfs.factors import als

SIZES = (50_000, 500_000, 5_000_000)
FACTORS, CLUSTERS, SPREAD = 64, 500, 0.7
SEED, BLOCK, K = 1, 500_000, 20
SECONDS = 3.0  # each measurement lasts


def main() -> Result:
    rows = {f"{size:,} items": measure(size) for size in SIZES}
    columns = ("kind", "recall", "per_s", "flat_per_s", "at_once_per_s", "flat_at_once_per_s", "mb", "build_s")
    table("queries/s", ("items", *columns), [(name, *(row[each] for each in columns)) for name, row in rows.items()])
    ours = {name: {key: row[key] for key in row if not key.startswith("flat")} for name, row in rows.items()}
    peers = {name: {key: row[key] for key in row if key.startswith("flat")} for name, row in rows.items()}
    largest = rows[f"{SIZES[-1]:,} items"]
    conditions = {"factors": FACTORS, "clusters": CLUSTERS, "recall at": K, "k": K}
    against = f"flat, {SIZES[-1]:,} items, one query at a time"
    return Result("faiss", ours, peers, largest["per_s"] / largest["flat_per_s"], against, "queries/s", conditions)


def measure(size: int) -> dict[str, Any]:
    model = catalogue(size)
    began_s = time.perf_counter()
    Y, X = index.vectors(model)[index.BEST]
    night = load().night
    made, about = index.build(Y, X, index.kind_of(len(Y), night), K, night.index_recall)
    build_s = time.perf_counter() - began_s
    flat = Index(index.flat(Y), index.FLAT, None)
    found = {"kind": made.kind, "width": about.width, "recall": round(about.recall, 4), "build_s": round(build_s, 1)}
    found["mb"] = round(len(index.faiss.serialize_index(made.index)) / 1e6)
    console.print(size, found)
    for name, each in {"": made, "flat_": flat}.items():
        found[f"{name}per_s"] = round(per_s(each, X, 1))
        found[f"{name}at_once_per_s"] = round(per_s(each, X, 64))
    return found


def per_s(made: Index, X: NDArray[np.float32], at_once: int) -> float:
    asked, began_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < SECONDS:
        first = asked % (len(X) - at_once + 1)
        made.search(X[first : first + at_once], K)
        asked += at_once
    return asked / took_s


def catalogue(size: int) -> Model:
    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((CLUSTERS, FACTORS)).astype(np.float32)
    Y = np.empty((size, FACTORS), np.float32)
    for at in range(0, size, BLOCK):
        n = min(BLOCK, size - at)
        near = centres[rng.integers(CLUSTERS, size=n)] + SPREAD * rng.standard_normal((n, FACTORS), np.float32)
        Y[at : at + n] = near * rng.lognormal(0, 0.3, (n, 1))
    contents = FactorContents(Y, 1000.0 * np.cov(centres.T), [f"i{n:08}" for n in range(size)], [])
    described: dict[str, Any] = {"parameters": {"objective": als.ials()._asdict()}, "lineage": {}}
    return store.load(factor_version.write(contents, 0, {}, kind="als", users=1000, **described).version)
