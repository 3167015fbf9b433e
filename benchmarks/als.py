"""Seconds per iteration of the night's ALS, against the library `implicit` and pyspark.ml: same data, same factors.

All minimise Hu, Koren and Volinsky's objective with alpha 1 and reg 10. (pyspark.ml multiplies its regularisation by
the length of each row, so its reg is divided by the mean length.) `implicit` takes 3 steps of conjugate gradients by
default and starts them from the last iteration; `exact` is its Cholesky solve. Ours stops at a relative residual of
[night.als] tolerance; our `exact` stops at 3e-7, which equals a direct solve to 1e-5. NDCG@10 ranks one held-out item
among 99 sampled ones.
"""

import re
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import elsewhere
from benchmarks.clicks import DATA
from benchmarks.harness import Result, console, table
from benchmarks.in_batch import asked
from benchmarks.peers import environment
from headrace.infra.settings import load

CASES = {"MovieLens 1M": (asked.ncf, (64, 128)), "YooChoose": (asked.yoochoose, (64, 128))}
ITERATIONS, SLOW = 10, 5  # of those whose iterations take long
SLOW_MAX = 300_000_000  # (events x factors) beyond which these are left out: they would take half an hour
EXACT = 3e-7


def main(rounds: int, only: str) -> Result:
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (given, sizes) in CASES.items():
            if not re.search(only, name):
                continue
            path = Path(folder) / "asked.npz"
            asked.save(path, given(DATA))
            for factors in sizes:
                figures[f"{name}, {factors}"] = case(path, factors, rounds)
    rows = [(case, system, *each.values()) for case, found in figures.items() for system, each in found.items()]
    table("ALS", ("data, factors", "system", "s/iteration", "NDCG@10", "peak MB"), rows)
    ours = {case: {name: found[name] for name in found if name.startswith("ours")} for case, found in figures.items()}
    peers = {case: {name: found[name] for name in found if name not in ours[case]} for case, found in figures.items()}
    ratio = min(found["implicit"]["iteration_s"] / found["ours"]["iteration_s"] for found in figures.values())
    conditions = {"alpha": 1.0, "reg": 10.0, "iterations": ITERATIONS, "rounds": rounds, "tolerance": _tolerance()}
    return Result("als", ours, peers, ratio, "implicit, worst case", "s/iteration", conditions)


def case(path: Path, factors: int, rounds: int) -> dict[str, Any]:
    """Of each system the medians of the rounds; pyspark.ml runs once."""
    found: dict[str, list[dict[str, Any]]] = {}
    is_slow = len(asked.read(path).users) * factors > SLOW_MAX
    for number in range(1, rounds + 1):
        runs = {
            "ours": elsewhere.ours("als_run", "ours", path, factors, ITERATIONS, _tolerance()),
            "implicit": elsewhere.peer(
                environment.python(), "implicit_als", path, factors, ITERATIONS, "cg", 1.0, 10.0
            ),
            "ours, exact": elsewhere.ours("als_run", "ours", path, factors, ITERATIONS, EXACT),
        }
        if not is_slow:
            runs["implicit, exact"] = elsewhere.peer(
                environment.python(), "implicit_als", path, factors, SLOW, "chol", 1.0, 10.0
            )
        if number == 1 and not is_slow:
            runs["pyspark.ml"] = elsewhere.ours("als_run", "pyspark.ml", path, factors, SLOW, EXACT)
        for system, run in runs.items():
            found.setdefault(system, []).append(run | {"iteration_s": median(run["iteration_s"])})
        console.print(number, {system: round(each[-1]["iteration_s"], 3) for system, each in found.items()})
    keys = ("iteration_s", "ndcg", "peak_mb")
    return {system: {key: median(run[key] for run in each) for key in keys} for system, each in found.items()}


def _tolerance() -> float:
    return load().night.als.tolerance
