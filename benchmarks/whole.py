"""Clicks per second of all streaming jobs at once, from the first click sent until the last job has caught up.

Every job runs on one slot of one TaskManager, beside Kafka and Redis; the clicks are sent to empty topics as fast as it
goes. A job has caught up when its source has read all of them and a checkpoint that began after that is complete: then
every operator and Redis have had them. Before, a version is trained on the same clicks, so that nearly all shoppers get
a live list. The data have no impressions: the bandit reads the clicks and has nothing to learn.
"""

import json
import time
import urllib.request
from contextlib import ExitStack
from typing import Any

from benchmarks import clicks, lists, stack
from benchmarks.harness import Result, console, medians, show_round, table
from headrace.infra.clients import flink, kafka_topics
from headrace.infra.settings import Settings
from headrace.schemas.topics import CLICKS

JOBS = ("session_features", "collaborative", "covisitation", "bandit")
EVENTS = 300_000
TARGET_CLICKS_PER_S = 8_000
OFFSET = "flink_taskmanager_job_task_operator_KafkaSourceReader_topic_partition_currentOffset"
STALLED_S = 300


def main(events: int, rounds: int) -> Result:
    settings = stack.up()
    events = min(events, EVENTS)
    stack.headrace("train", clicks.source().name, str(clicks.DATA), "--limit", f"{events}", *lists.HOW)
    rates: dict[str, list[int]] = {name: [] for name in ("all", *JOBS)}
    cpu: list[float] = []
    for number in range(1, rounds + 1):
        took_s, cpu_s = measure(settings, events)
        cpu.append(round(cpu_s / events * 1e6, 1))
        for name in JOBS:
            rates[name].append(round(events / took_s[name]))
        rates["all"].append(round(events / max(took_s.values())))
        show_round(number, rounds, rates, "clicks/s")
    figures = medians(rates, "clicks_per_s")
    rows = [(name, *each.values()) for name, each in figures.items()]
    table("all jobs at once", ("job", "clicks/s", "each round"), rows)
    conditions: dict[str, Any] = {"clicks": events, "data": clicks.source().title, "store": "heap", "slots": 1}
    conditions |= {"CPU-s of Flink per million clicks": cpu, "factors": lists.FACTORS}
    ratio = round(figures["all"]["clicks_per_s"] / TARGET_CLICKS_PER_S, 3)
    against = f"the target of {TARGET_CLICKS_PER_S:,} clicks/s"
    return Result("whole", figures, {}, ratio, against, "clicks/s", conditions)


def measure(settings: Settings, events: int) -> tuple[dict[str, float], float]:
    """Seconds until each job has caught up, and the CPU-s of Flink until all have."""
    stack.empty(settings)
    programs = [stack.processes()[name] for name in ("jobmanager", "taskmanager")]
    with ExitStack() as ends, console.status("all jobs at work"):
        running = {name: ends.enter_context(stack.job(settings, "heap", 1, name=name)) for name in JOBS}
        before_s, began_s = stack.cpu_s(programs), time.monotonic()
        clicks.load(events)
        last = kafka_topics.bounds(settings.kafka)[1][CLICKS]
        took_s = {name: each - began_s for name, each in _caught_up(settings, running, last).items()}
        return took_s, stack.cpu_s(programs) - before_s


def _caught_up(settings: Settings, running: dict[str, flink.Job], last: int) -> dict[str, float]:
    """When each job had caught up."""
    asked: dict[str, str] = {}  # the checkpoint that each waits for
    done: dict[str, float] = {}
    until_s = time.monotonic() + STALLED_S
    while len(done) < len(running):
        for name in running.keys() - done.keys():
            job = running[name]
            if name not in asked and _read(settings, job) >= last:
                asked[name] = _checkpoint(settings, job)
            elif name in asked and (now := _complete(settings, job, asked[name])):
                done[name] = now
        if time.monotonic() > until_s:
            raise RuntimeError(f"{sorted(running.keys() - done.keys())} not caught up within {STALLED_S} s")
        time.sleep(stack.POLL_S)
    return done


def _read(settings: Settings, job: flink.Job) -> float:
    """The records of the topic that the job's source has passed on, counted from the topic's beginning."""
    labels = (f'job_id="{job.id}"', f'topic="{CLICKS}"')
    every = "".join(f"(?=.*{label})" for label in labels)
    return stack.metric(settings, rf"^{OFFSET}\{{{every}") + stack.PARTITIONS  # an offset is that of the last record


def _checkpoint(settings: Settings, job: flink.Job) -> str:
    """Asks for a checkpoint, which begins after what the sources have read."""
    url = f"http://{settings.flink.rest}/jobs/{job.id}/checkpoints"
    request = urllib.request.Request(url, b'{"checkpointType": "CONFIGURED"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return str(json.loads(response.read())["request-id"])


def _complete(settings: Settings, job: flink.Job, asked: str) -> float | None:
    found = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints/{asked}")
    if found["status"]["id"] != "COMPLETED":
        return None
    if "checkpointId" not in (operation := found["operation"]):
        raise RuntimeError(f"the checkpoint of {job.name} failed: {operation}")
    return time.monotonic()
