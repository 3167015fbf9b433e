"""Seconds from kill -9 of each process until clicks are in Redis within a second again, and stay so.

A reader looks for the newest of a steady stream of probe clicks. The load goes on meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil
from kafka.errors import KafkaError

from benchmarks import clicks, stack
from benchmarks.harness import Result, console, table
from benchmarks.probes import Probes
from headrace.infra.clients import flink
from headrace.infra.settings import Settings

CLICKS_PER_S = 3_000.0
LOAD_S = 900  # more than all kills should need
PROBE_EVERY_S = 0.05
LATE_S = 1.0
CALM_S = 20  # without a late probe: caught up; longer than Flink takes to miss a process
GIVEN_UP_S = 180
TARGET_S = 60.0


def _program(name: str) -> Callable[[], psutil.Process]:
    return lambda: stack.processes()[name]


PROGRAMS = ("taskmanager", "jobmanager", "kafka", "redis")
VICTIMS = {name: _program(name) for name in PROGRAMS}


def main(rate: float) -> Result:
    settings = stack.up()
    stack.empty(settings)
    clicks_per_s = rate or CLICKS_PER_S
    load = clicks.sending(round(clicks_per_s * LOAD_S), clicks_per_s)
    with stack.job(settings, "heap", 1), load, _probing(settings) as probes:
        seconds = {name: _recovery_s(settings, probes, name) for name in VICTIMS}
    table(f"kill -9 to caught up, at {clicks_per_s:,.0f} clicks/s", ("killed", "s"), list(seconds.items()))
    conditions = {"clicks/s": clicks_per_s, "caught up": f"clicks are visible within {LATE_S:.0f} s", "store": "heap"}
    conditions["checkpoint_interval_s"] = settings.flink.checkpoint_interval_s
    ratio = TARGET_S / max(seconds.values())
    return Result("recovery", seconds, {}, round(ratio, 3), f"the target, {TARGET_S:.0f} s at worst", "s", conditions)


def _recovery_s(settings: Settings, probes: Probes, name: str) -> float:
    with console.status(f"waiting for a checkpoint, then kill -9 of {name}"):
        stack.wait(lambda: probes.visible() >= 0 and probes.lag_s() < LATE_S, "clicks in Redis at once")
        _next_checkpoint(settings)
        VICTIMS[name]().kill()
        seconds = _caught_up_s(probes)
    console.print(f"{name:<14} {seconds:5.1f} s")
    return seconds


@contextmanager
def _probing(settings: Settings) -> Iterator[Probes]:
    """Probes sent by a thread of their own: the producer may block while Kafka is away."""
    probes, stop = Probes(settings), Event()
    thread = Thread(target=_send, args=(probes, stop), daemon=True)
    thread.start()
    try:
        yield probes
    finally:
        stop.set()
        thread.join()


def _send(probes: Probes, stop: Event) -> None:
    while not stop.wait(PROBE_EVERY_S):
        with suppress(KafkaError):
            probes.send()


def _next_checkpoint(settings: Settings) -> None:
    """So that each kill finds one to go back to, some seconds old at the least."""
    job = flink.named(settings.flink, stack.JOB)
    done = flink.checkpoints_completed(settings.flink, job)
    stack.wait(lambda: flink.checkpoints_completed(settings.flink, job) > done, "a checkpoint")


def _caught_up_s(probes: Probes) -> float:
    begin_s = last_late_s = time.monotonic()
    while (now_s := time.monotonic()) - last_late_s < CALM_S:
        if probes.lag_s() > LATE_S:
            last_late_s = now_s
        if now_s - begin_s > GIVEN_UP_S:
            raise RuntimeError(f"not caught up within {GIVEN_UP_S} s: see {stack.HOME}/logs")
        time.sleep(stack.POLL_S)
    return round(last_late_s - begin_s, 1)
