"""Click to visible in Redis: from the producer's send call to a reader seeing the features, under a steady load.

The load is real clicks at half of the highest rate, then almost none. The reader polls every millisecond.
"""

import random
import time
from typing import Any

import numpy as np

from benchmarks import clicks, stack
from benchmarks.harness import Result, console, earlier, table
from benchmarks.probes import Probes
from benchmarks.session_features import HEAP
from headrace.infra.settings import Settings

PROBES = 400
PAUSE_MAX_S = 0.05  # between probes, at random, so that they fall anywhere in a bundle
WARM_UP_S = 15
LOW_CLICKS_PER_S = 100.0
DEFAULT_CLICKS_PER_S = 10_000.0
LOAD_S = 2 * WARM_UP_S + PROBES * 0.5  # more than the probes should need
POLL_S = 0.001
TIMEOUT_S = 60
TARGET_P99_MS = 100.0
EDGES_MS = (0, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 500, 1000)
BAR = 60  # characters of the highest


def main(rate: float) -> Result:
    """rate: clicks/s in the background; 0: half of what the last session_features reached."""
    settings = stack.up()
    rates = [rate or half_of_maximum(), LOW_CLICKS_PER_S]
    delays_ms = {f"{each:,.0f} clicks/s": measure(settings, each) for each in rates}
    figures = show("click to visible in Redis, ms", delays_ms)
    conditions = {"store": "heap", "slots": 1, "data": clicks.source().title, "reader polls every ms": 1000 * POLL_S}
    conditions["bundle_time_ms"] = settings.flink.bundle_time_ms
    against = f"the target at the first rate, p99 of {TARGET_P99_MS:.0f} ms"
    ratio = TARGET_P99_MS / next(iter(figures.values()))["p99"]
    return Result("freshness", figures, {}, round(ratio, 3), against, "ms", conditions)


def half_of_maximum() -> float:
    figures = earlier("session_features").get("ours", {})
    return figures[HEAP]["clicks_per_s"] / 2 if HEAP in figures else DEFAULT_CLICKS_PER_S


def measure(settings: Settings, clicks_per_s: float) -> list[float]:
    stack.empty(settings)
    with stack.job(settings, "heap", 1), clicks.sending(round(clicks_per_s * LOAD_S), clicks_per_s):
        probes = Probes(settings)
        with console.status(f"{PROBES} probes at {clicks_per_s:,.0f} clicks/s"):
            probes.delay_s(POLL_S, TIMEOUT_S)
            time.sleep(WARM_UP_S)
            return [_delay_ms(probes) for _ in range(PROBES)]


def _delay_ms(probes: Probes) -> float:
    time.sleep(random.uniform(0, PAUSE_MAX_S))
    return probes.delay_s(POLL_S, TIMEOUT_S) * 1000


def show(title: str, delays_ms: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """The quantiles of the delays under each background, with a histogram."""
    figures = {background: quantiles(each) for background, each in delays_ms.items()}
    columns = ("background", "p50", "p90", "p99", "highest", "probes")
    table(title, columns, [(name, *each.values()) for name, each in figures.items()])
    for background, each in delays_ms.items():
        histogram(background, each)
    return figures


def quantiles(delays_ms: list[float]) -> dict[str, Any]:
    p50, p90, p99, highest = np.percentile(delays_ms, (50, 90, 99, 100)).round(1).tolist()
    return {"p50": p50, "p90": p90, "p99": p99, "highest": highest, "probes": len(delays_ms)}


def histogram(title: str, delays_ms: list[float]) -> None:
    counts = np.histogram(delays_ms, [*EDGES_MS, float("inf")])[0].tolist()
    console.print(title)
    for edge_ms, probes in zip(EDGES_MS, counts, strict=True):
        console.print(f"{edge_ms:>6} ms and more  {'#' * -(-probes * BAR // max(counts))} {probes or ''}")
