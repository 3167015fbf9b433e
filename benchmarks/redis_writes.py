"""SETs per second by the Redis connector's writer in Java, against redis-benchmark sending the same command.

Each writes values as long as a live session to a redis-server of its own, with an expiry, by one connection and with as
many on their way. The writer is what a task of a job runs, without a cluster: headrace.redis.WriteRate.
"""

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks import stack
from benchmarks.harness import Result, console, medians, show_round, table
from headrace.infra import paths
from headrace.schemas import redis_keys

SETS = 200_000
VALUE_BYTES = 900  # of a session of some clicks
PIPELINE = 1000
POM = paths.PACKAGE / "udfs" / "jvm" / "pom.xml"
RATE = re.compile(r"([\d,]+) SETs/s, CPU us a SET: ([\d.]+) Java, ([\d.]+) Redis")
THEIRS = re.compile(r"([\d.]+) requests per second")
WARM = 2  # rounds of the writer that warm the JVM


def main(rounds: int) -> Result:
    classpath = _classpath()
    rates: dict[str, list[int]] = {"ours": [], "redis-benchmark": []}
    cpu_us: list[dict[str, float]] = []
    for number in range(1, rounds + 1):
        rate, cpu = _writer(classpath)
        cpu_us.append(cpu)
        rates["ours"].append(rate)
        rates["redis-benchmark"].append(_benchmark())
        show_round(number, rounds, rates, "SETs/s")
    figures = medians(rates, "sets_per_s")
    rows = [(name, *each.values()) for name, each in figures.items()]
    table("Redis writes", ("writer", "SETs/s", "each round"), rows)
    figures["ours"]["cpu_us"] = {name: round(median(each[name] for each in cpu_us), 2) for name in cpu_us[0]}
    console.print(f"CPU us a SET: {figures['ours']['cpu_us']}")
    ratio = median(mine / theirs for mine, theirs in zip(*rates.values(), strict=True))
    conditions = {"value bytes": VALUE_BYTES, "pipeline": PIPELINE, "SETs": SETS, "command": "SET key value PXAT ms"}
    peers = {"redis-benchmark": figures["redis-benchmark"]}
    against = "redis-benchmark, same command and size"
    return Result("redis_writes", figures["ours"], peers, round(ratio, 3), against, "SETs/s", conditions)


def _classpath() -> str:
    """Of the connector and its tests, built in a folder of its own."""
    build, listed = stack.HOME / "jvm", stack.HOME / "jvm" / "classpath"
    build.mkdir(parents=True, exist_ok=True)
    maven = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), f"-Dheadrace.build={build}"]
    with console.status("building the connector"):
        subprocess.run([*maven, "test-compile"], check=True)
        subprocess.run([*maven, "dependency:build-classpath", f"-Dmdep.outputFile={listed}"], check=True)
    return f"{build / 'test-classes'}:{build / 'classes'}:{listed.read_text().strip()}"


def _writer(classpath: str) -> tuple[int, dict[str, float]]:
    """SETs/s, and the CPU of each of the two programs."""
    command = ["java", "-Xmx512m", "-classpath", classpath, "headrace.redis.WriteRate"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = RATE.findall(done.stdout)[WARM:]
    rate, java, redis = (median(float(each[n].replace(",", "")) for each in found) for n in range(3))
    return round(rate), {"Java": java, "redis-server": redis}


def _benchmark() -> int:
    expire_at_ms = round(time.time() * 1000) + redis_keys.SESSION_TTL_MS
    command = ["SET", redis_keys.session("__rand_int__"), "x" * VALUE_BYTES, "PXAT", str(expire_at_ms)]
    with _server() as port:
        size = ["-n", str(SETS), "-r", str(SETS), "-P", str(PIPELINE), "-c", "1", "-q"]
        every = []
        for _ in range(3):
            done = subprocess.run(["redis-benchmark", "-p", str(port), *size, *command], capture_output=True, text=True)
            every.append(float(THEIRS.findall(done.stdout)[-1]))
    return round(median(every))


@contextmanager
def _server() -> Iterator[int]:
    """The port of a redis-server as WriteRate starts one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    folder = Path(tempfile.mkdtemp(prefix="redis-writes-"))
    options = ["--port", str(port), "--dir", str(folder), "--save", ""]
    with psutil.Popen(["redis-server", *options], stdout=subprocess.DEVNULL) as server:
        try:
            stack.wait(lambda: _listens(port), "redis-server listens")
            yield port
        finally:
            server.kill()
            shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
