"""Crash schedules: which process dies by kill -9 after which share of the records, carried out in mid-stream."""

import os
import random
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from headrace.infra.clients import flink
from headrace.infra.stack import supervision
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.stack.running import Stack, wait
from tests.streams.clicks import Record

RESTARTING = ("taskmanager", "jobmanager")  # their death restarts the job
WORKER = "worker"  # of Python, where a job has one: likewise
OUTLIVED = ("kafka", "redis")  # their death may be outlived by retries
CHUNK, PACE_S = 200, 0.08  # records are sent at up to 2,500/s
CHECKPOINT_S = 2  # long enough to kill between two checkpoints
SLOW_S = 0.3
RECOVERY_S = 180
OFFSET = re.compile(r'_KafkaSourceReader_topic_partition_currentOffset\{.*topic="clicks".*\} (\S+)')
EMITTED = re.compile(r'_task_operator_numRecordsOut\{.*operator_name="Source[^"]*clicks.*\} (\S+)')
ATTEMPT = re.compile(r'_KafkaSourceReader_topic_partition_currentOffset\{.*task_attempt_id="(\w+)"')


@dataclass(frozen=True)
class Kill:
    target: str
    share: float  # of the records


@dataclass(frozen=True)
class Schedule:
    seed: int
    kills: list[Kill]
    parallelism: int
    state_backend: str


@dataclass(frozen=True)
class Progress:
    """The progress of the source's running attempt, at one moment."""

    consumed: int
    emitted: int
    attempts: frozenset[str]
    begun: int  # partitions of which it has emitted a record

    def restored_at(self) -> int:
        return self.consumed - self.emitted


@dataclass(frozen=True)
class Bite:
    """What a kill did. It counts only if it came in mid-stream, after a checkpoint, and made the job go back."""

    kill: Kill
    share: float
    checkpoints_before: int
    restarted: bool
    replayed: int

    def counts(self) -> bool:
        went_back = self.restarted and self.replayed > 0
        in_time = 0.1 <= self.share <= 0.9 and self.checkpoints_before >= 1
        return in_time and (went_back or self.kill.target in OUTLIVED)


def schedule(seed: int, restarting: tuple[str, ...] = RESTARTING) -> Schedule:
    """Returns a schedule of two kills. Schedules 2n and 2n + 1 together kill four targets."""
    rng = random.Random(seed // 2)
    targets = [rng.sample(some, 2)[seed % 2] for some in (restarting, OUTLIVED)]
    rng = random.Random(seed)
    rng.shuffle(targets)
    step = 0.7 / len(targets)
    kills = [Kill(target, 0.12 + n * step + rng.uniform(0, step * 0.6)) for n, target in enumerate(targets)]
    return Schedule(seed, kills, parallelism=rng.choice((1, 2)), state_backend=rng.choice(("hashmap", "rocksdb")))


def drive(stack: Stack, records: Sequence[Record], kills: list[Kill], seed: int) -> list[Bite]:
    """Sends all the records, killing on the way."""
    rng, bites = random.Random(seed), []
    sender = Sender(stack, records)
    for kill in kills:
        sender.keep_step(kill.share)
        bites.append(bite(stack, kill, sender, rng))
    sender.send(len(records))
    sender.close()
    return bites


class Sender:
    """Sends in small chunks, so that the job is always in mid-stream."""

    def __init__(self, stack: Stack, records: Sequence[Record]) -> None:
        self.stack, self.records, self.sent = stack, records, 0
        self.twentieth = len(records) // 20
        self.producer = topic.producer(stack.settings.kafka)
        self.futures: list[Any] = []

    def send(self, count: int) -> None:
        for first in range(self.sent, min(self.sent + count, len(self.records)), CHUNK):
            for record in self.records[first : first + CHUNK]:
                self.futures.append(self.producer.send(CLICKS, key=record.key, value=record.value))
            self.sent = min(first + CHUNK, len(self.records))
            time.sleep(PACE_S)

    def keep_step(self, share: float) -> None:
        """Sends until the job has consumed this share, never more than a twentieth of the records ahead of it."""
        while (consumed := progress(self.stack).consumed) < share * len(self.records):
            if self.sent < consumed + self.twentieth:
                self.send(CHUNK)

    def close(self) -> None:
        self.producer.flush()
        for future in self.futures:
            future.get(timeout=60)
        self.producer.close()


def bite(stack: Stack, kill: Kill, sender: Sender, rng: random.Random) -> Bite:
    pid = victim(kill.target, rng)
    checkpoints, before = between_checkpoints(stack, sender)
    os.kill(pid, signal.SIGKILL)
    killed_ms = time.time() * 1000
    sender.send(sender.twentieth)
    back = lambda: recovered(stack, kill, pid, before, killed_ms)  # noqa: E731
    wait(back, RECOVERY_S, lambda: f"{kill}: {before}, then {progress(stack)}")
    after = progress(stack)
    restarted = after.attempts.isdisjoint(before.attempts)
    replayed = before.consumed - after.restored_at() if restarted else 0
    return Bite(kill, before.consumed / len(sender.records), checkpoints, restarted, replayed)


def between_checkpoints(stack: Stack, sender: Sender) -> tuple[int, Progress]:
    """Sends on until a checkpoint has just completed and the job has read what that one does not hold."""
    earlier = stack.checkpoints()
    while (checkpoints := stack.checkpoints()) == earlier:
        sender.send(CHUNK)
        time.sleep(SLOW_S)
    held = progress(stack).consumed
    while (now := progress(stack)).consumed <= held and sender.sent < len(sender.records):
        sender.send(CHUNK)
    return checkpoints, now


def victim(target: str, rng: random.Random) -> int:
    if target != WORKER:
        return supervised(target)
    children = psutil.Process(supervised("taskmanager")).children(recursive=True)
    return rng.choice([child.pid for child in children if "pyflink.fn_execution" in " ".join(child.cmdline())])


def supervised(name: str) -> int:
    return next(int(each["pid"]) for each in supervision.processes() if each["name"] == name)


def recovered(stack: Stack, kill: Kill, pid: int, before: Progress, killed_ms: float) -> bool:
    """Returns whether the process is back, the source has gone on, and a checkpoint has begun since."""
    if kill.target != WORKER and supervised(kill.target) == pid:
        return False
    now = progress(stack)
    restarted = now.attempts.isdisjoint(before.attempts)
    if kill.target not in OUTLIVED and not restarted:
        return False
    latest = flink.get(stack.settings.flink, f"/jobs/{stack.job().id}/checkpoints")["latest"]["completed"]
    gone_on = now.begun == before.begun and now.consumed > before.consumed
    return bool(gone_on and latest and latest["trigger_timestamp"] > killed_ms)


def progress(stack: Stack) -> Progress:
    metrics = stack.metrics()
    offsets = [int(float(offset)) for offset in OFFSET.findall(metrics)]
    begun = [offset for offset in offsets if offset >= 0]
    emitted = sum(int(float(count)) for count in EMITTED.findall(metrics))
    return Progress(sum(begun) + len(begun), emitted, frozenset(ATTEMPT.findall(metrics)), len(begun))
