"""Pairs per second in training the night's two towers, against a bare torch loop of the same shapes on ready batches.

The bare loop has sparse tables, too, and torch.optim.SparseAdam. A pair is a user and an item that they took and that
the step asks for. The data are MovieLens 1M, the training part of NCF. Settings are those of
infra/config/settings.toml, with one process. Epochs of both take turns.
"""

import tempfile
from pathlib import Path

from benchmarks import elsewhere
from benchmarks.clicks import DATA
from benchmarks.harness import Result, table
from benchmarks.in_batch import asked
from headrace.infra.settings import load


def main(rounds: int) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        asked.save(path, asked.ncf(DATA))
        found = elsewhere.ours("two_tower_run", path, 2 * rounds + 1)
    peak_mb, _ = found.pop("peak_mb"), found.pop("epoch_s")
    table(f"Two towers, at most {peak_mb} MB", ("system", "pairs/s"), list(found.items()))
    bare = found.pop("bare torch")
    conditions = {"settings": load().night.two_tower.model_dump(), "peak_mb": peak_mb, "epochs": 2 * rounds + 1}
    return Result("two_tower", found, {"bare torch": bare}, found["ours"] / bare, "bare torch", "pairs/s", conditions)
