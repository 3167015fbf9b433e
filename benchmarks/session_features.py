"""Clicks per second from Kafka to Redis, and their CPU: ours, the same job into blackhole, and peers on the same work.

In each round every system reads the same topic from its start into an empty Redis. Rate and CPU are those of the steady
state, from the moment when three tenths of the clicks have come out to the last write. CPU counts the system's own
processes, not Kafka and Redis.
"""

import re
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from psutil import Process

from benchmarks import clicks, redis_state, stack, systems
from benchmarks.harness import Result, console, table
from benchmarks.peers import environment
from benchmarks.redis_state import Comparison, State
from benchmarks.systems import System
from headrace.infra.settings import Settings

STEADY_FROM = 0.3
QUIET_S = 1.5
STALLED_S = 120
# Records that the operator of the user's history has taken in.
PASSED = r'^flink_taskmanager_job_task_operator_numRecordsIn\{.*operator_name="ProcessTableFunction'
HEAP, ROCKSDB = "headrace heap 1 slot", "headrace rocksdb 1 slot"
TARGETS = {  # (ours, peer): least ratio
    (HEAP, "blackhole heap 1 slot"): 0.8,
    (ROCKSDB, "blackhole rocksdb 1 slot"): 0.8,
    (HEAP, "confluent-kafka loop"): 0.75,
    (ROCKSDB, "confluent-kafka loop"): 0.5,
    (HEAP, "kafka-python loop"): 1.0,
    (HEAP, "bytewax"): 2.5,
    (HEAP, "quixstreams heap"): 3.0,
    (ROCKSDB, "quixstreams rocksdb"): 2.3,
}
HEADLINE = (HEAP, "blackhole heap 1 slot")


class Run(NamedTuple):
    clicks_per_s: float
    cpu_s_per_million: float
    same: Comparison | None  # with what the first system of the round left in Redis


class Moment(NamedTuple):
    at_s: float
    cpu_s: float
    progress: float  # 0 to 1


def main(events: int, rounds: int, only: str) -> Result:
    settings = stack.up()
    chosen = [system for system in systems.ALL if re.search(only, system.name)]
    runs: dict[str, list[Run]] = {system.name: [] for system in chosen}
    for number in range(1, rounds + 1):
        stack.empty(settings)
        clicks.load(events)  # each round anew: hashes expire an hour after the broker's time of the last click
        expected: State = {}
        for system in chosen:
            run, state = measure(settings, system, events, expected)
            expected = expected or state
            runs[system.name].append(run)
            _show(f"round {number}/{rounds}  {system.name:<26}", run)
    return _result(runs, {"clicks": events, "data": clicks.source().title, "partitions": stack.PARTITIONS})


def measure(settings: Settings, system: System, events: int, expected: State) -> tuple[Run, State]:
    stack.empty_redis(settings)
    progress = _marks_seen(settings) if system.to_redis else _passed(settings, events)
    with system.run(settings) as processes, console.status(system.name):
        begin = _reached(STEADY_FROM, progress, processes)
        end = _reached(1.0, progress, processes)
        if system.to_redis:
            end = _last_write(settings, end, processes)
    state = redis_state.dump(stack.redis(settings))
    same = redis_state.compare(expected or state, state) if system.to_redis else None
    passed = events * (1 - begin.progress)
    return Run(passed / (end.at_s - begin.at_s), (end.cpu_s - begin.cpu_s) / passed * 1e6, same), state


def _marks_seen(settings: Settings) -> Callable[[], float]:
    client = stack.redis(settings)
    return lambda: float(client.exists(*clicks.MARK_KEYS) / clicks.MARKS)


def _passed(settings: Settings, events: int) -> Callable[[], float]:
    """For a job that writes nothing to Redis."""
    return lambda: stack.metric(settings, PASSED) / (events + clicks.MARKS)


def _reached(least: float, progress: Callable[[], float], processes: list[Process]) -> Moment:
    moved_s, furthest = time.monotonic(), -1.0
    while (now := progress()) < least:
        if now > furthest:
            moved_s, furthest = time.monotonic(), now
        if time.monotonic() - moved_s > STALLED_S:
            raise RuntimeError(f"no progress for {STALLED_S} s at {now:.1%}: see {stack.HOME}/logs")
        time.sleep(stack.POLL_S)
    return Moment(time.monotonic(), stack.cpu_s(processes), now)


def _last_write(settings: Settings, end: Moment, processes: list[Process]) -> Moment:
    client, writes = stack.redis(settings), -1
    while time.monotonic() - end.at_s < QUIET_S:
        if (now := client.info("commandstats")["cmdstat_set"]["calls"]) != writes:
            writes, end = now, Moment(time.monotonic(), stack.cpu_s(processes), end.progress)
        time.sleep(stack.POLL_S)
    return end


def _show(what: str, run: Run) -> None:
    console.print(f"{what}{run.clicks_per_s:>9,.0f} clicks/s  {run.cpu_s_per_million:6.1f} CPU-s per million")
    if run.same and run.same.differing:
        console.print(f"  {run.same.differing:,} of {run.same.users:,} users differ, such as {run.same.example}")


def _result(runs: dict[str, list[Run]], conditions: dict[str, Any]) -> Result:
    figures = {each.name: _figures(each, runs[each.name]) for each in systems.ALL if each.name in runs}
    ratios = _ratios({name: each["clicks_per_s"] for name, each in figures.items()})
    columns = ("system", *next(iter(figures.values())))
    table("Kafka -> Redis, medians", columns, [(name, *each.values()) for name, each in figures.items()])
    table("ratios", ("ours", "peer", "ratio", "target"), [tuple(each.values()) for each in ratios])
    ours = {name: each for name, each in figures.items() if name.startswith("headrace")}
    return Result(
        "session_features",
        ours,
        peers={name: each for name, each in figures.items() if name not in ours},
        ratio=next((each["ratio"] for each in ratios if (each["ours"], each["peer"]) == HEADLINE), None),
        against=f"the same job into blackhole: {' / '.join(HEADLINE)}",
        unit="clicks/s",
        conditions=conditions | {"ratios": ratios, "versions of peers": environment.versions()},
    )


def _figures(system: System, runs: list[Run]) -> dict[str, Any]:
    same = [run.same for run in runs if run.same]
    return {
        "clicks_per_s": round(median(run.clicks_per_s for run in runs)),
        "cpu_s_per_million": round(median(run.cpu_s_per_million for run in runs), 1),
        "each_round": [round(run.clicks_per_s) for run in runs],
        "users_compared": min((each.users for each in same), default=0),
        "users_differing": sum(each.differing for each in same),
        "durability": system.durability,
    }


def _ratios(rates: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"ours": ours, "peer": peer, "ratio": round(rates[ours] / rates[peer], 3), "target": target}
        for (ours, peer), target in TARGETS.items()
        if {ours, peer} <= rates.keys()
    ]
