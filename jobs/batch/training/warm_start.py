"""Item factors to begin a training with: of the version that serves, else of the newest earlier night, else random.

Only factors that an earlier night trained under the same protocol may be used. They have seen nothing that this night
holds out, since every protocol's training part only grows from night to night. A version of `headrace train`, of a
later night or of another protocol may have seen it, and the evaluation would then measure its memory.
"""

from typing import Any, NamedTuple

import numpy as np

from headrace.infra import paths
from headrace.infra.versions import store
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.training import model_folder, split
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Real


class Older(NamedTuple):
    name: str  # of the version, or the night's date
    items: list[str]
    factors: Real


def factors(items: list[str], how: Training, night: Night, kind: str, protocol: str) -> tuple[Real, str | None]:
    """Returns (m, f) float32, and the name of their source; None if random. A new item begins with random factors."""
    start = als.initial(len(items), how.factors, np.random.default_rng(how.seed))
    older = _serving(how, night, kind, protocol) or _newest(how, night, kind, protocol)
    if older is None:
        return start, None
    place = {item: n for n, item in enumerate(older.items)}
    known = np.array([place.get(item, -1) for item in items])
    start[known >= 0] = older.factors[known[known >= 0]]
    return start, older.name


def _serving(how: Training, night: Night, kind: str, protocol: str) -> Older | None:
    pointer = store.current()
    if pointer is None:
        return None
    manifest, contents = store.load(pointer.version)
    fits = manifest.kind == kind and _fits(manifest.lineage, manifest.dims, how, night, protocol)
    return Older(pointer.version, contents.items, contents.item_factors) if fits else None


def _newest(how: Training, night: Night, kind: str, protocol: str) -> Older | None:
    newest_first = sorted((paths.home() / "nights").glob(f"*/{kind}/{model_folder.MODEL}"), reverse=True)
    for folder in (path.parent for path in newest_first):
        about = model_folder.description(folder)
        if _fits(about.lineage, about.dims, how, night, protocol):
            contents = model_folder.contents(folder)
            return Older(folder.parent.name, contents.items, contents.item_factors)
    return None


def _fits(lineage: dict[str, Any], dims: dict[str, int], how: Training, night: Night, protocol: str) -> bool:
    return dims["factors"] == how.factors and split.is_unseen(lineage, protocol, night.date)
