"""Measures Headrace: `make bench NAME=...` or `python -m benchmarks NAME`; each writes benchmarks/results/NAME.json."""

import importlib
import inspect
from typing import Annotated, Any

import typer

from benchmarks import stack
from benchmarks.harness import console

NAMES: tuple[str, ...] = ("session_features", "freshness", "redis_writes", "startup", "recovery", "memory")
NAMES += ("restore", "scaling")
NAMES += ("whole", "lists", "covisitation", "bandit", "open_bandit", "regret", "fold_in", "bandit_sums", "prequential")
NAMES += ("floors", "families")
NAMES += ("faiss", "precompute")
NAMES += ("federated_bytes", "federated_sum", "federated_job", "federated_round", "federated_scale")
NAMES += ("federated_quality",)
NAMES += ("quality", "als", "two_tower", "hard_negatives", "growth")
NAMES += ("airflow_overhead", "night", "files")

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="which; without it, a list")] = "",
    events: Annotated[int, typer.Option(min=10_000, help="clicks to read")] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="times each is measured, in turn; medians count")] = 3,
    rate: Annotated[float, typer.Option(help="clicks/s in the background; 0: the default of the benchmark")] = 0,
    probes: Annotated[int, typer.Option(min=100, help="freshness, lists: clicks whose latency is taken")] = 4000,
    only: Annotated[str, typer.Option(help="session_features, als, growth, night: only what matches this regex")] = "",
) -> None:
    if name not in NAMES:
        _list()
        raise typer.Exit(bool(name))
    stack.use()
    benchmark = importlib.import_module(f"benchmarks.{name}")
    options: dict[str, Any] = {"events": events, "rounds": rounds, "rate": rate, "probes": probes, "only": only}
    wanted = inspect.signature(benchmark.main).parameters
    result = benchmark.main(**{option: value for option, value in options.items() if option in wanted})
    console.print(f"written to {result.write()}")
    console.print(result.last_line())


def _list() -> None:
    for each in NAMES:
        first_line = (inspect.getdoc(importlib.import_module(f"benchmarks.{each}")) or "").splitlines()[0]
        console.print(f"{each:<18}{first_line}")


if __name__ == "__main__":
    app()
