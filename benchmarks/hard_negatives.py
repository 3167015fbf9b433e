"""Do hard negatives help the two towers? NDCG@10 of each user's last item among all items, with and without them.

Amazon Beauty has 22,363 users and 12,101 items: a step does not offer its whole catalogue, as it nearly does with
MovieLens 1M. The hard items replace as many of the evenly drawn ones, so that all steps offer equally many.
"""

import os
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import elsewhere
from benchmarks.clicks import DATA
from benchmarks.harness import Result, console, table
from benchmarks.in_batch import asked
from headrace.infra.settings import load

HARD = (0, 64, 128, 256)  # of 256
SEEDS = (1, 2)


def main(only: str) -> Result:
    """only: one number of hard ones."""
    ours = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        asked.save(path, asked.beauty(DATA))
        for hard in HARD:
            if not only or only == str(hard):
                ours[f"{hard} hard"] = measured(path, hard)
                console.print(hard, ours[f"{hard} hard"])
    columns = ("", *next(iter(ours.values())))
    table("two towers, Amazon Beauty", columns, [(name, *row.values()) for name, row in ours.items()])
    figures = {name: row["ndcg"] for name, row in ours.items()}
    none = figures.pop("0 hard", None)
    ratio = max(figures.values()) / none if none and figures else None
    conditions = {"data": "amazon-beauty", "seeds": len(SEEDS), "drawn": load().night.two_tower.drawn}
    return Result("hard_negatives", ours, {}, ratio, "no hard negatives", "NDCG@10", conditions)


def measured(path: Path, hard: int) -> dict[str, Any]:
    drawn, found = load().night.two_tower.drawn, []
    for seed in SEEDS:
        changed = {"HARD": hard, "DRAWN": drawn - hard, "SEED": seed}
        os.environ |= {f"HEADRACE_NIGHT__TWO_TOWER__{name}": str(value) for name, value in changed.items()}
        found.append(elsewhere.ours("quality_run", "two_tower", path, load().night.two_tower.factors))
    return {
        "ndcg": round(mean(each["full"]["ndcg"] for each in found), 4),
        "hr": round(mean(each["full"]["hr"] for each in found), 4),
        "by seed": [round(each["full"]["ndcg"], 4) for each in found],
        "seconds": round(mean(each["seconds"] for each in found), 1),
    }
