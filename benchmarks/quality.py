"""HR@10 and NDCG@10 of the night's models on the NCF split of MovieLens 1M, beside published figures.

A model ranks one held-out item and 99 sampled ones, as published; also all items that a user did not take. Settings are
those of infra/config/settings.toml. They were chosen on a validation split of the training part (one random item of
each user, 99 sampled), never on the test items: docs/night.md.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import elsewhere
from benchmarks.clicks import DATA
from benchmarks.harness import Result, table
from benchmarks.in_batch import asked
from headrace.infra.settings import load

PUBLISHED = {  # HR@10, NDCG@10
    "most popular": (0.4531, 0.2542),
    "NeuMF (rerun)": (0.6725, 0.4011),
    "PureSVD": (0.6896, 0.4294),
    "iALS, 64 factors": (0.722, 0.445),
    "matrix factorisation by SGD (Rendle et al. 2020)": (0.7294, 0.4523),
}


def main() -> Result:
    given = asked.ncf(DATA)
    counts = np.bincount(given.items, minlength=given.size[1]).astype(np.float64)[:, None]
    everyone = np.ones((given.size[0], 1))
    ours: dict[str, Any] = {
        "popularity": {"sampled": asked.sampled(everyone, counts, given), "full": asked.full(everyone, counts, given)}
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        asked.save(path, given)
        settings = load().night
        ours["als"] = elsewhere.ours("quality_run", "als", path, settings.als.factors)
        ours["als, 64 factors"] = elsewhere.ours("quality_run", "als", path, 64)
        ours["two_tower"] = elsewhere.ours("quality_run", "two_tower", path, settings.two_tower.factors)
    rows = [(name, *_figures(each), each.get("seconds", 0.0), each.get("peak_mb", 0)) for name, each in ours.items()]
    rows += [(f"published: {name}", *figures, 0.0, 0.0, 0.0, 0) for name, figures in PUBLISHED.items()]
    columns = ("model", "HR@10", "NDCG@10", "HR@10, all items", "NDCG@10, all items", "s", "peak MB")
    table("NCF split of MovieLens 1M", columns, rows)
    ratio = ours["als"]["sampled"]["ndcg"] / PUBLISHED["iALS, 64 factors"][1]
    return Result(
        "quality", ours, PUBLISHED, ratio, "NDCG@10 of published iALS", "HR@10, NDCG@10", {"data": "ncf-ml-1m"}
    )


def _figures(each: dict[str, Any]) -> tuple[float, ...]:
    return tuple(each[how][metric] for how in ("sampled", "full") for metric in ("hr", "ndcg"))
