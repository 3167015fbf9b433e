"""What every benchmark shares: the record of a result, the machine it was taken on, and how to show both."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from headrace.infra import paths

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("apache-flink", "apache-beam", "kafka-python", "redis", "numpy", "pandas", "pyarrow")
console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "java": _first_line("java", "-version"),
        "redis-server": _first_line("redis-server", "--version"),
        **{package: version(package) for package in PACKAGES},
    }


def _first_line(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout.splitlines()[0]


def commit() -> str:
    """Of the checkout, with `+` if it has changes."""
    git = ["git", "-C", str(paths.PACKAGE)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True)
    return (head.stdout.strip() or "none") + "+" * bool(changes.stdout)


@dataclass(frozen=True)
class Result:
    """ratio compares ours with `against`, above 1 in our favour; None if that was not measured."""

    name: str
    ours: dict[str, Any]
    peers: dict[str, Any]
    ratio: float | None
    against: str
    unit: str
    conditions: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=machine)
    commit: str = field(default_factory=commit)

    def write(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        return path

    def last_line(self) -> str:
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        return f"{self.name} ratio {ratio} (against {self.against})"


def show_round(number: int, rounds: int, figures: dict[str, list[Any]], unit: str) -> None:
    console.print(
        f"round {number}/{rounds}", *(f"{name} {_text(each[-1])} {unit}" for name, each in figures.items()), sep="  "
    )


def medians(rates: dict[str, list[int]], unit: str) -> dict[str, dict[str, Any]]:
    """What each has reached: the median, and every round."""
    return {name: {unit: round(median(each)), "each_round": each} for name, each in rates.items()}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Text to the left, numbers to the right."""
    shown = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) for row in rows)
        shown.add_column(column, justify="right" if numbers else "left")
    for row in rows:
        shown.add_row(*map(_text, row))
    console.print(shown)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
