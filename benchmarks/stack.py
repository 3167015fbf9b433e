"""The benchmarks' own stack under .headrace/bench, with our job on it; used through `headrace`, as a user would."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import console
from headrace.edge.shoppers.replay import bulk_producer
from headrace.edge.spool_line import Message
from headrace.infra import paths
from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings, load
from headrace.infra.stack import supervision
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, IMPRESSIONS, REWARDS, STATISTICS

HOME = paths.PACKAGE / ".headrace" / "bench"
PARTITIONS = 2  # of topic clicks: one for each slot of the largest measurement
JOB = "session_features"
CANCEL_S = 60
WAIT_S = 600
POLL_S = 0.02
SAID_CHARACTERS = 2000
SCAN = 1000
# Store -> the setting, and what Flink then says it runs on.
STORES = {"heap": ("hashmap", "HashMapStateBackend"), "rocksdb": ("rocksdb", "EmbeddedRocksDBStateBackend")}


def use() -> None:
    """Make the benchmarks' home the home of everything this process and its children do."""
    os.environ["HEADRACE_CACHE"] = str(paths.cache())
    os.environ["HEADRACE_HOME"] = str(HOME)
    os.environ["HEADRACE_KAFKA__PARTITIONS"] = str(PARTITIONS)


def headrace(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("headrace")), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-SAID_CHARACTERS:]}")


def up() -> Settings:
    """The settings of the running stack, on which no job runs."""
    headrace("up")
    settings = load()
    wait(lambda: _answers(settings), "Flink answers")
    for job in flink.jobs(settings.flink):
        if job.state in flink.ALIVE:
            flink.cancel(settings.flink, job, CANCEL_S)
    return settings


def _answers(settings: Settings) -> bool:
    try:
        return flink.jobs(settings.flink) is not None
    except HeadraceError:  # a busy machine
        return False


@contextmanager
def job(settings: Settings, store: str, slots: int, *options: str, name: str = JOB) -> Iterator[flink.Job]:
    """A job of ours, with its state on "heap" or "rocksdb", cancelled in the end."""
    backend, expected = STORES[store]
    anew = ("--from-scratch", "--yes")
    headrace("submit", name, "--state-backend", backend, "--parallelism", str(slots), *anew, *options)
    running = flink.named(settings.flink, name)
    try:
        used = flink.get(settings.flink, f"/jobs/{running.id}/checkpoints/config")["state_backend"]
        if not used.startswith(expected):
            raise RuntimeError(f"the job must run on {expected}, got {used}")
        yield running
    finally:
        flink.cancel(settings.flink, running, CANCEL_S)
        shutil.rmtree(HOME / "flink" / "checkpoints" / running.id, ignore_errors=True)


def processes() -> dict[str, psutil.Process]:
    """The stack's programs by name."""
    return {each["name"]: psutil.Process(each["pid"]) for each in supervision.processes()}


def tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def cpu_s(roots: list[psutil.Process]) -> float:
    """CPU-seconds so far of processes with all their children, also those that have ended."""
    return sum(sum(each.cpu_times()[:4]) for root in roots for each in tree(root))


def metric(settings: Settings, pattern: str) -> float:
    """Sum of the TaskManager's Prometheus values whose name and labels match, as of this moment."""
    with urllib.request.urlopen(f"http://localhost:{settings.stack.taskmanager_metrics_port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.search(pattern, line))


def redis(settings: Settings) -> Any:
    return settings.redis.client()


def sessions(client: Any) -> int:
    """How many users have a session in Redis."""
    return sum(1 for _ in client.scan_iter(redis_keys.session("*"), SCAN))


def empty(settings: Settings) -> None:
    """No clicks and impressions in Kafka, nothing that a bandit has learnt, nothing in Redis; no job may run."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    with kafka_topics.admin(settings.kafka) as client:
        parts = [TopicPartition(name, index) for name in (CLICKS, IMPRESSIONS) for index in range(PARTITIONS)]
        ends = client.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST))
        client.delete_records({part: end.offset for part, end in ends.items()})
        kept = {*kafka_topics.names()} - {STATISTICS, REWARDS}
        others = [name for name in client.list_topics() if not name.startswith("__") and name not in kept]
        if others:
            client.delete_topics(others)
            wait(lambda: not {*others} & {*client.list_topics()}, "the topics are gone")
    kafka_topics.create(settings.kafka)
    empty_redis(settings)


def empty_redis(settings: Settings) -> None:
    """Its log too, which would grow with every system that is measured."""
    client = redis(settings)

    def rewritten() -> bool:
        return not client.info("persistence")["aof_rewrite_in_progress"]

    client.flushall()
    wait(rewritten, "Redis is done with a rewrite of its own")
    client.bgrewriteaof()
    wait(rewritten, "Redis has rewritten its log")


def send(settings: Settings, messages: Sequence[Message]) -> None:
    producer = bulk_producer(settings.kafka.client())
    with console.status(f"sending {len(messages):,} records"):
        for message in messages:
            producer.send(message.topic, message.value, message.key)
        producer.close()


def wait(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S, poll_s: float = POLL_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(poll_s)
