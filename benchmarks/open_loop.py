"""Latency in an open loop: probes at fixed times under a steady load, each counted from when it should have been sent.

A closed loop sends its next probe when the last one is back, so a stall of a second costs one probe. Here it costs all
those of that second. Latencies are whole sorted samples. Checkpoints, from Flink's REST, are joined with them. The load
and the probes are processes of their own; everybody's CPU is shown, since all share the machine.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks import clicks, stack
from benchmarks.harness import console, table
from benchmarks.peers import environment
from headrace.infra import paths
from headrace.infra.clients import flink
from headrace.infra.settings import Settings

EVERY_S = 0.025
WARM_UP_S = 15
SPARE_S = 90  # of load, for what the probes take beyond their times
LOW_CLICKS_PER_S = 100.0
LOOK_S = 5  # Flink keeps only the last checkpoints
QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "highest": 100.0}
EDGES_MS = (0, 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 500, 1000)
PARTS = ("with a checkpoint", "without")
PROGRAMS = ("taskmanager", "kafka", "redis", "load", "probes")
BAR = 60  # characters of the highest


class Probe(NamedTuple):
    intended_ms: float
    sent_ms: float
    seen_ms: float | None


class Span(NamedTuple):
    """A checkpoint, in ms since 1970."""

    start_ms: float
    end_ms: float


class Measured(NamedTuple):
    probes: list[Probe]
    checkpoints: list[Span]
    cores: dict[str, float]  # busy, by program, while probes were sent


class Watched(NamedTuple):
    """What the probes ask for."""

    key: str  # that a click of {user} makes
    items: Sequence[str]  # that they click


def measure(settings: Settings, job: str, watched: Callable[[], Watched], rate: float, probes: int) -> Measured:
    """rate: clicks/s in the background."""
    stack.empty(settings)
    load = clicks.sending(round(rate * (WARM_UP_S + probes * EVERY_S + SPARE_S)), rate)
    with (
        stack.job(settings, "heap", 1, name=job) as running,
        load as generator,
        console.status(f"{probes:,} probes at {rate:,.0f} clicks/s"),
    ):
        time.sleep(WARM_UP_S)
        with _prober(watched(), probes) as prober:
            programs = stack.processes() | {"load": psutil.Process(generator.pid), "probes": psutil.Process(prober.pid)}
            return _observed(settings, running, prober, programs)


def _observed(
    settings: Settings, job: flink.Job, prober: "subprocess.Popen[bytes]", programs: dict[str, psutil.Process]
) -> Measured:
    checkpoints: dict[int, Span] = {}
    began_s, before, after = time.monotonic(), _cpu_s(programs), {}
    seconds = 0.0
    while prober.poll() is None:
        checkpoints |= _checkpoints(settings, job)
        with suppress(psutil.NoSuchProcess):  # the prober is done
            after, seconds = _cpu_s(programs), time.monotonic() - began_s
        time.sleep(LOOK_S / 5)
    checkpoints |= _checkpoints(settings, job)
    log = paths.logs() / "prober.log"
    if prober.returncode:
        raise RuntimeError(f"the prober ended with {prober.returncode}: see {log}")
    lines = [line for line in log.read_text().splitlines() if line.startswith("[")]
    cores = {name: round((after[name] - before[name]) / seconds, 2) for name in programs}
    return Measured([Probe(*json.loads(line)) for line in lines], list(checkpoints.values()), cores)


@contextmanager
def _prober(watched: Watched, probes: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = environment.start("prober", probes, EVERY_S, watched.key, *watched.items)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _cpu_s(programs: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: stack.cpu_s([program]) for name, program in programs.items()}


def _checkpoints(settings: Settings, job: flink.Job) -> dict[int, Span]:
    history = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")["history"]
    done = [each for each in history if each["status"] == "COMPLETED"]
    return {
        each["id"]: Span(each["trigger_timestamp"], each["trigger_timestamp"] + each["end_to_end_duration"])
        for each in done
    }


def figures(measured: Measured) -> dict[str, Any]:
    """Quantiles of all probes, of those that met a checkpoint and of the others; how late the prober was; CPU."""
    seen = [probe for probe in measured.probes if probe.seen_ms is not None]
    met = np.array([meets(probe, measured.checkpoints) for probe in seen], bool)
    took_ms = np.array([probe.seen_ms - probe.intended_ms for probe in seen if probe.seen_ms is not None])
    late_ms = [probe.sent_ms - probe.intended_ms for probe in measured.probes]
    return quantiles(took_ms) | {
        "lost": len(measured.probes) - len(seen),
        **{part: quantiles(took_ms[chosen]) for part, chosen in zip(PARTS, (met, ~met), strict=True)},
        "checkpoints_ms": [round(each.end_ms - each.start_ms) for each in sorted(measured.checkpoints)],
        "sent late, p99": round(float(np.percentile(late_ms, 99)), 1),
        "cores": measured.cores,
    }


def meets(probe: Probe, checkpoints: Sequence[Span]) -> bool:
    """Whether a checkpoint was under way between its time and when it was seen."""
    until_ms = probe.seen_ms or np.inf
    return any(each.start_ms <= until_ms and probe.intended_ms <= each.end_ms for each in checkpoints)


def quantiles(took_ms: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Any]:
    if not len(took_ms):
        return dict.fromkeys(QUANTILES, 0.0) | {"probes": 0}
    values = np.percentile(took_ms, list(QUANTILES.values())).round(1).tolist()
    return dict(zip(QUANTILES, values, strict=True)) | {"probes": len(took_ms)}


def show(title: str, measured: dict[str, Measured]) -> dict[str, dict[str, Any]]:
    """The figures under each background, with a histogram."""
    found = {background: figures(each) for background, each in measured.items()}
    columns = ("background", *QUANTILES, "probes", "lost")
    table(title, columns, [(name, *(each[column] for column in columns[1:])) for name, each in found.items()])
    parts = [
        (f"{name}, {part}", each[part]) for name, each in found.items() for part in ("with a checkpoint", "without")
    ]
    table("apart", columns[:-1], [(name, *each.values()) for name, each in parts])
    table("cores busy", ("background", *PROGRAMS), [(name, *_of(each["cores"])) for name, each in found.items()])
    for background, each in measured.items():
        histogram(background, [probe.seen_ms - probe.intended_ms for probe in each.probes if probe.seen_ms is not None])
    return found


def _of(cores: dict[str, float]) -> list[float]:
    return [cores.get(name, 0.0) for name in PROGRAMS]


def histogram(title: str, took_ms: list[float]) -> None:
    counts = np.histogram(took_ms, [*EDGES_MS, float("inf")])[0].tolist()
    console.print(title)
    for edge_ms, probes in zip(EDGES_MS, counts, strict=True):
        console.print(f"{edge_ms:>6} ms and more  {'#' * -(-probes * BAR // max(1, *counts))} {probes or ''}")
