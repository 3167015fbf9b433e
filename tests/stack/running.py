"""A real stack, started and used through the product's own command line, and what tests ask of it."""

import contextlib
import fcntl
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headrace.infra import paths
from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings, load
from headrace.infra.settings import Stack as StackSettings
from headrace.infra.versions import store
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.streams.clicks import Record

JOB = "session_features"
HEADRACE = paths.python("streaming").parent / "headrace"
OFFSET = re.compile(r"_currentOffset\{([^}]*)\} (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
TURNS = 2  # more stacks at once would starve each other's heartbeats
METRICS_TRIES = 40
TIMERS_MS = 2_000  # twice the longest that a job holds a change back (covisitation.refresh_s)


class Failed(Exception):
    """A command that ended with a non-zero exit status."""


@dataclass(frozen=True)
class Stack:
    home: Path
    settings: Settings
    job_name: str = JOB
    reads: tuple[str, ...] = (CLICKS,)
    metrics_at: str = ""  # of another TaskManager than the supervised one

    def run(self, *arguments: str, timeout_s: float = 180) -> str:
        """Returns what `headrace ARGUMENTS` printed."""
        done = subprocess.run(
            [HEADRACE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            message = f"headrace {' '.join(arguments)} ended with {done.returncode}: {done.stdout}"
            raise Failed(message)
        return done.stdout

    def submit(self, *options: str) -> None:
        self.run("submit", self.job_name, *options)

    def send(self, records: Iterable[Record]) -> int:
        return topic.send(self.settings.kafka, CLICKS, records)

    def job(self) -> flink.Job:
        return flink.named(self.settings.flink, self.job_name)

    def restarts(self) -> int:
        return flink.restarts(self.settings.flink, self.job()) or 0

    def checkpoints(self) -> int:
        """Returns the checkpoints completed since the job was submitted, or since the JobManager took it up again."""
        return flink.checkpoints_completed(self.settings.flink, self.job())

    def metrics(self) -> str:
        """Returns metrics. It asks again while they do not answer: a TaskManager that begins a job is busy."""
        own = f"http://localhost:{self.settings.stack.taskmanager_metrics_port}/metrics"
        address = self.metrics_at or own
        for _ in range(METRICS_TRIES):
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as response:
                return str(response.read().decode())
            time.sleep(0.5)
        raise OSError(f"no metrics at {address}")

    def consumed(self) -> int:
        """Returns how many records of its topics the newest attempt of the job has read."""
        return sum(self._offsets().values())

    def _offsets(self) -> dict[str, int]:
        """Returns the offset that comes next, by place; 0 of a partition that is not begun."""
        ours, job = {re.sub(r"\W", "_", self.settings.kafka.name(name)) for name in self.reads}, self.job().id
        found = [(dict(LABEL.findall(labels)), float(offset)) for labels, offset in OFFSET.findall(self.metrics())]
        of_job = [(each, offset) for each, offset in found if each["topic"] in ours and each["job_id"] == job]
        newest = max((int(each["task_attempt_num"]) for each, _ in of_job), default=0)
        return {
            f"{each['topic']}/{each['partition']} by subtask {each['subtask_index']}": max(int(offset), -1) + 1
            for each, offset in of_job
            if int(each["task_attempt_num"]) == newest
        }

    def settle(self, timeout_s: float = 180) -> None:
        """Waits until every sent record has been consumed, and what follows from it is written and committed."""
        total = sum(sum(topic.ends(self.settings.kafka, name).values()) for name in self.reads)
        wait(lambda: self.consumed() == total, timeout_s, lambda: self._unsettled(total))
        self.commit(timeout_s)

    def _unsettled(self, total: int) -> str:
        failures = [each.cause for each in flink.failures(self.settings.flink, self.job())]
        return f"{total} records are there, consumed are {self._offsets()}; {self.restarts()} restarts: {failures}"

    def commit(self, timeout_s: float) -> None:
        """Waits until what the job has been given by now is written and committed.

        The first checkpoint passes all records through; then timers fire. The second passes on what they emit, and the
        third shows that the transactions of the second are over.
        """
        passed_ms = self.checkpoint(time.time_ns() // 1_000_000, timeout_s)
        self.checkpoint(self.checkpoint(passed_ms + TIMERS_MS, timeout_s), timeout_s)

    def checkpoint(self, after_ms: int, timeout_s: float) -> int:
        """Waits for a checkpoint that began after then, and returns its end; by Flink's times, as answers are late."""
        ends: list[int] = []

        def ended() -> bool:
            history = flink.get(self.settings.flink, f"/jobs/{self.job().id}/checkpoints")["history"]
            later = [each for each in history if each["trigger_timestamp"] > after_ms and each["status"] == "COMPLETED"]
            ends.extend(each["latest_ack_timestamp"] for each in later)
            return bool(ends)

        wait(ended, timeout_s, lambda: "no checkpoint completes")
        return min(ends)

    def reset(self) -> None:
        """Removes all jobs, their checkpoints, records, versions and Redis keys."""
        for job in flink.jobs(self.settings.flink):
            if job.state in flink.ALIVE:
                flink.cancel(self.settings.flink, job, timeout_s=60)
        self.forget_places()
        with kafka_topics.admin(self.settings.kafka) as admin:
            admin.delete_topics([name for name in kafka_topics.names() if name in admin.list_topics()])
            wait(lambda: not set(kafka_topics.names()) & set(admin.list_topics()), 30, lambda: "topics are still there")
        kafka_topics.create(self.settings.kafka)
        shutil.rmtree(self.home / store.root().relative_to(paths.home()), ignore_errors=True)
        redis = self.settings.redis.client(decode_responses=True)
        folder: Any = redis.config_get("dir")
        assert folder["dir"].startswith(str(self.home)), "this is not the tests' Redis"
        redis.flushall()

    def forget_places(self) -> None:
        """Removes all places that jobs could go on from."""
        for name in ("watch", "flink/checkpoints", "flink/savepoints"):
            shutil.rmtree(self.home / name, ignore_errors=True)


def wait(condition: Callable[[], bool], timeout_s: float, missing: Callable[[], str]) -> None:
    """Polls until the condition holds; a program that is away counts as not yet."""
    deadline = time.monotonic() + timeout_s
    while not holds(condition):
        if time.monotonic() > deadline:
            message = f"after {timeout_s:.0f} s: {missing()}"
            raise TimeoutError(message)
        time.sleep(0.2)


def holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except (OSError, HeadraceError):
        return False


def ports() -> dict[str, object]:
    names = [name for name in StackSettings.model_fields if name.endswith("_port")]
    chosen = random.SystemRandom().sample(range(20_000, 32_000), len(names))
    return {f"STACK__{name.upper()}": port for name, port in zip(names, chosen, strict=True)}


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Waits until fewer than TURNS stacks of tests run on this machine."""
    with contextlib.ExitStack() as files:
        folder = Path(tempfile.gettempdir())
        places = [files.enter_context((folder / f"headrace-tests-{n}.lock").open("w")) for n in range(TURNS)]
        while not any(locked(place) for place in places):
            time.sleep(1)
        yield


def locked(file: IO[str]) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@contextlib.contextmanager
def stack_in(home: Path, **settings: object) -> Iterator[Stack]:
    """Starts and ends a stack in its own folder; `settings` as SECTION__NAME=value. Its ports are far from a user's."""
    named = {f"HEADRACE_{name}": str(value) for name, value in (ports() | settings).items()}
    named["HEADRACE_HOME"] = str(home)
    before = dict(os.environ)
    with turn():
        os.environ |= named
        try:
            Stack(home, load()).run("up", timeout_s=600)
            yield Stack(home, load())
        finally:
            subprocess.run([HEADRACE, "down"], timeout=180)
            os.environ.clear()
            os.environ |= before
