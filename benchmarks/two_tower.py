"""Pairs per second in training the night's two towers, against a bare torch loop of the same shapes on ready batches.

The bare loop has sparse tables, too, and torch.optim.SparseAdam. A pair is an item that a step asks for. The data are
Amazon Beauty, each user's items in time order but the last. Then the towers are trained to their end: minutes, and
HR@10 and NDCG@10 of the last item among all that the user did not take. Settings are those of
infra/config/settings.toml, with one process. Epochs of both take turns.

On a machine with a GPU and torch, without the rest: `python -m benchmarks.two_tower --device cuda`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.in_batch import asked
from headrace.infra.settings import load

if TYPE_CHECKING:
    from benchmarks.harness import Result


def main(rounds: int) -> "Result":
    from benchmarks import elsewhere
    from benchmarks.clicks import DATA
    from benchmarks.harness import Result, table

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        asked.save(path, asked.beauty(DATA))
        found = elsewhere.ours("two_tower_run", path, 2 * rounds + 1, "--whole")
    named = {name: value for name, value in found.items() if isinstance(value, float)}
    table(f"Two towers, at most {found['peak_mb']} MB", ("figure", "value"), list(named.items()))
    bare = found["bare torch"]
    conditions = {"data": "amazon-beauty", "settings": load().night.two_tower.model_dump(), "epochs": 2 * rounds + 1}
    return Result("two_tower", found, {"bare torch": bare}, found["ours"] / bare, "bare torch", "pairs/s", conditions)


def here(data: Path, device: str, rounds: int) -> None:
    """Prints the figures of this machine, in this process."""
    from benchmarks.in_batch import two_tower_run

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asked.npz"
        asked.save(path, asked.beauty(data))
        two_tower_run.main(path, rounds, device, whole=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has amazon-beauty/")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    here(given.data, given.device, given.rounds)
