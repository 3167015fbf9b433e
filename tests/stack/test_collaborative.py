"""The collaborative job on a real stack: each live list equals a direct solve, through a swap and through a kill."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headrace.infra.versions import factor_version, store
from headrace.jobs.batch.training import local
from headrace.jobs.batch.training.local import Training
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS
from headrace.udfs.factors import als
from tests import topic
from tests.oracles import collaborative
from tests.oracles.collaborative import Histories, Version
from tests.stack.crashes import Kill, Sender, drive
from tests.stack.running import Stack, wait
from tests.streams.clicks import Click, Record, Stream, by_moment, enriched, named, online_retail, resent, shuffled
from tests.streams.dirty import ACTIONS, soiled

pytestmark = pytest.mark.stack
JOB = "collaborative"
DAY_MS = 86_400_000
SHOWN = 20  # differences
TRIES = 3


@pytest.fixture(scope="module")
def retail() -> list[Click]:
    return online_retail("2011-11", 10_000)


@pytest.fixture(scope="module")
def stream(retail: list[Click]) -> Stream:
    """Returns every action, late and repeated events, and baskets of hundreds of items."""
    mixed = named("mixed", enriched(retail, list(ACTIONS), seed=1))
    return by_moment(shuffled(mixed, seed=2) + resent(named("resent", retail[:8_000]), seed=3))


@pytest.fixture
def running(stack: Stack) -> Stack:
    return replace(stack, job_name=JOB)


def train(version: str, clicks: list[Click], factors: int) -> None:
    """Trains a version on some of the clicks, so that it does not know every item."""
    how = Training(factors, 3, als.ials(alpha=2.0, reg=0.02, unobserved=0.2), 30.0 * DAY_MS, 5.0, 50, seed=factors)
    log = local.read(clicks)
    contents = local.train(log, how, lambda: None)
    created_ms, parameters = time.time_ns() // 1_000_000, how.parameters()
    factor_version.write(
        contents, created_ms, {}, version, kind="als", users=log.users, parameters=parameters, lineage={}
    )


def histories(stack: Stack) -> Histories:
    found = Histories(stack.settings.session)
    for record in topic.read(stack.settings.kafka, CLICKS):
        found.feed(record)
    return found


def live_lists(stack: Stack, version: str) -> dict[str, tuple[dict[str, Any], int]]:
    """Returns user -> (the list, when it expires)."""
    client = stack.settings.redis.client(decode_responses=True)
    begin = redis_keys.live(version, "")
    keys = sorted(client.scan_iter(match=f"{begin}*", count=2_000))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
        pipeline.pexpiretime(key)
    answers = pipeline.execute()
    return {
        key.removeprefix(begin): (json.loads(value), expires_ms)
        for key, value, expires_ms in zip(keys, answers[::2], answers[1::2], strict=True)
    }


def differences(stack: Stack, version: Version) -> list[str]:
    """Returns the differences of every user's list, by their newest event."""
    moments, found, n = histories(stack).moments, live_lists(stack, version.name), stack.settings.collaborative.top_n
    assert found.keys() <= moments.keys()
    lines = []
    for user, theirs in moments.items():
        listed, expires_ms = found.get(user, (None, 0))
        lines += [f"{user}: {line}" for line in collaborative.wrong(version, theirs[-1], listed, n)]
        if listed and expires_ms != theirs[-1].append_ms + redis_keys.LIVE_TTL_MS:
            lines.append(f"{user}: expires {expires_ms}, as of {theirs[-1].append_ms}")
    return lines[:SHOWN]


def published(version: str) -> Version:
    store.publish(version, 1)
    return collaborative.read(store.root() / version)


@pytest.mark.parametrize(
    ("parallelism", "backend"), [pytest.param(1, "hashmap", marks=pytest.mark.soak), (2, "rocksdb")]
)
def test_every_list_equals_a_direct_solve(
    running: Stack, retail: list[Click], stream: Stream, parallelism: int, backend: str
) -> None:
    train("v1", retail[:4_000], factors=16)
    version = published("v1")
    running.submit("--parallelism", f"{parallelism}", "--state-backend", backend)
    running.send(soiled(stream))
    running.settle()
    lists = live_lists(running, "v1")
    assert len(lists) > 300
    assert any(entry["reason"] for listed, _ in lists.values() for entry in listed["items"])
    assert differences(running, version) == []
    assert running.restarts() == 0


@pytest.mark.soak
def test_without_a_version_nothing_is_written(running: Stack, retail: list[Click], stream: Stream) -> None:
    running.submit()
    running.send(soiled(stream[:2_000]))
    running.settle()
    redis = running.settings.redis.client()
    assert list(redis.scan_iter(redis_keys.live("*", "*"))) == []
    train("v1", retail, factors=8)
    running.run("publish", "v1")
    running.send(soiled(stream[2_000:4_000]))
    running.settle()
    users = {click["user_id"] for _, click in stream[2_000:4_000]}
    assert set(live_lists(running, "v1")) <= users
    assert len(live_lists(running, "v1")) > len(users) / 2
    assert running.restarts() == 0


def test_a_swap_and_a_rollback_in_mid_stream(running: Stack, retail: list[Click], stream: Stream) -> None:
    """Each list is whole of its version; an event that came after a pointer moved was answered by the new version."""
    train("v1", retail[:4_000], factors=16)
    train("v2", retail[2_000:], factors=24)
    versions = {"v1": published("v1"), "v2": collaborative.read(store.root() / "v2")}
    running.submit()
    records = list(soiled(stream))
    swapped_ms = moved(running, records[:12_000], "publish", "v2")
    drained_ms = time.time_ns() // 1_000_000
    back_ms = moved(running, records[12_000:], "rollback")
    certain = {"v1": (back_ms, 1 << 62), "v2": (swapped_ms, drained_ms)}
    assert running.restarts() == 0
    moments, lists = histories(running).moments, {name: live_lists(running, name) for name in versions}
    for name, version in versions.items():
        assert len(lists[name]) > 50
        for user, (listed, _) in lists[name].items():
            possible = [moment for moment in moments[user] if moment.append_ms == listed["as_of_ms"]]
            assert any(not collaborative.wrong(version, each, listed, 20) for each in possible), (user, listed)
    for user, theirs in moments.items():
        for name, (first_ms, last_ms) in certain.items():
            if first_ms <= theirs[-1].append_ms <= last_ms:
                newest = {of: lists[of][user][0]["as_of_ms"] for of in versions if user in lists[of]}
                has_list = collaborative.expected(versions[name], theirs[-1].events) is not None
                assert (newest.get(name) == theirs[-1].append_ms) == has_list
                assert theirs[-1].append_ms not in [at_ms for of, at_ms in newest.items() if of != name]


def moved(stack: Stack, records: list[Record], *command: str) -> int:
    """Sends the records, runs the command in their midst, and returns when it ended, once all is settled."""
    streaming = Streaming(stack, records)
    moved_ms = streaming.at(0.5, lambda: stack.run(*command))
    streaming.join()
    stack.settle()
    return moved_ms


class Streaming(threading.Thread):
    """Sends at a steady pace while the test does something else."""

    def __init__(self, stack: Stack, records: list[Record]) -> None:
        super().__init__()
        self.sender = Sender(stack, records)
        self.start()

    def run(self) -> None:
        self.sender.send(len(self.sender.records))
        self.sender.close()

    def at(self, share: float, act: Callable[[], Any]) -> int:
        """Does something once this share is sent, and returns the time after it, in ms."""
        wait(lambda: self.sender.sent >= share * len(self.sender.records), 60, lambda: f"{self.sender.sent} sent")
        act()
        return time.time_ns() // 1_000_000


@pytest.mark.soak
def test_a_killed_taskmanager_changes_no_list(running: Stack, retail: list[Click], stream: Stream) -> None:
    train("v1", retail[:4_000], factors=16)
    version = published("v1")
    for _ in range(TRIES):
        running.reset()
        running.submit()
        bites = drive(running, list(soiled(stream)), [Kill("taskmanager", 0.45)], seed=1)
        running.settle()
        assert differences(running, version) == []
        print(*bites)
        if all(bite.counts() for bite in bites):
            return
    pytest.fail(f"after {TRIES} tries the kill still did not bite: {bites}")


@pytest.mark.soak
def test_after_a_flush_every_list_is_back(running: Stack, retail: list[Click], stream: Stream) -> None:
    train("v1", retail[:4_000], factors=16)
    version = published("v1")
    running.run("publish", "v1")
    running.submit()
    running.send(soiled(stream))
    running.settle()
    redis = running.settings.redis.client(decode_responses=True)
    serving = {key: redis.get(key) for key in (redis_keys.model_current(), redis_keys.popular("v1"))}
    assert all(serving.values())
    redis.flushall()
    running.run("restore", timeout_s=300)
    assert {key: redis.get(key) for key in serving} == serving
    assert differences(running, version) == []
