"""Lists of every user from the lake to Redis, users/s, against a plain loop: FAISS flat, json, a redis-py pipeline.

Ours is `headrace run precompute` with the start of Spark; it times its parts itself: reading the lake, the vectors, 100
candidates of each user, MMR, a reason for each item, similar items, popular lists, files that survive a kill, Redis.
The plain loop reads nothing: histories and item factors are in memory. It folds in by the same solve, asks for 20 items
plus as many as were seen, leaves out the seen ones, and writes. So it is a bound on what one process could do.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from benchmarks.harness import Result, console, table
from headrace.infra import paths
from headrace.infra.launch import batch
from headrace.infra.settings import load
from tests.edge.broker import free_port
from tests.stack.running import wait

DATE = "2026-01-31"
EVENTS_A_USER = 20
SIZES = ((10_000, 10_000), (20_000, 10_000), (40_000, 10_000), (10_000, 20_000))  # users, items
GB, SAMPLE_S = 1e9, 0.5


def main() -> Result:
    rows = {f"{users:,} users, {items:,} items": measure(users, items) for users, items in SIZES}
    columns = ("users_per_s", "with_start_per_s", "redis_per_s", "plain_per_s", "peak_gb", "plain_peak_gb")
    table("users/s", ("size", *columns), [(name, *(row[each] for each in columns)) for name, row in rows.items()])
    ours = {name: {key: row[key] for key in row if not key.startswith("plain")} for name, row in rows.items()}
    peers = {name: {key: row[key] for key in row if key.startswith("plain")} for name, row in rows.items()}
    most = list(rows.values())[2]
    conditions = {"events a user": EVENTS_A_USER, "factors": 64, "list": 20, "candidates": 100, "master": "local[*]"}
    ratio = most["users_per_s"] / most["plain_per_s"]
    return Result("precompute", ours, peers, ratio, "the plain loop, 40,000 users", "users/s", conditions)


def measure(users: int, items: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as port:
        home = {"HEADRACE_HOME": folder, "HEADRACE_CACHE": str(paths.cache()), "HEADRACE_REDIS__PORT": str(port)}
        _batch(home, "benchmarks.peers.nightly", "prepare", str(users), str(items))
        took_s, peak_gb = _batch(home, "headrace.jobs.batch.precompute", "--date", DATE)
        said = json.loads((Path(folder) / "nights" / DATE / "precompute" / "precompute.json").read_text())
        Redis(port=port).flushall()
        _, plain_gb = _batch(home, "benchmarks.peers.nightly", "plain")
        plain = json.loads((Path(folder) / "plain.json").read_text())
    found = {
        "users_per_s": round(users / (said["compute_s"] + said["redis_s"])),
        "with_start_per_s": round(users / took_s),
        "redis_per_s": round(said["keys"] / said["redis_s"]),
        "peak_gb": round(peak_gb, 2),
        "plain_per_s": round(users / plain["seconds"]),
        "plain_peak_gb": round(plain_gb, 2),
    }
    console.print(users, items, found)
    return found


def _batch(home: dict[str, str], module: str, *arguments: str) -> tuple[float, float]:
    """Seconds, and the most memory that it and its processes had at a time, pages they share counted once."""
    environment = batch.environment(load().spark) | home
    command = [str(paths.python("batch")), "-m", module, *arguments]
    began_s, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as said:
        process = psutil.Popen(command, env=environment, cwd=paths.PACKAGE, stdout=said, stderr=said)
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(SAMPLE_S)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode()[-2000:])
    return time.perf_counter() - began_s, peak / GB


def _resident(process: psutil.Process) -> int:
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait(lambda: _listens(port), 20, lambda: "Redis does not answer")
        yield port
        process.terminate()


def _listens(port: int) -> bool:
    try:
        return bool(Redis(port=port).ping())
    except OSError:
        return False
    except Exception:  # redis-py's own, while the socket is not there
        return False
