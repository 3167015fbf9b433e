"""An upgrade: today's jobs and readers use the savepoints and the published version of 0.1.0."""

import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from headrace.infra import paths
from headrace.infra.clients import flink
from headrace.infra.settings import load
from headrace.infra.versions import store
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, IMPRESSIONS
from headrace.udfs.bandit import sums_version
from headrace.udfs.bandit.arms import unpack_posterior
from headrace.udfs.bandit.context import SHOPPER
from tests import releases
from tests.stack.compare import session_of
from tests.stack.running import Stack, wait

pytestmark = [pytest.mark.stack, pytest.mark.shop]
JOBS = ("session_features", "covisitation", "collaborative", "bandit")
VERSION = "als-20261130T040357-ba1d088e"


@pytest.fixture
def release(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a home as 0.1.0 left it. Kafka has bad records at its log's offsets: only the savepoints know the log."""
    monkeypatch.setenv("HEADRACE_BANDIT__REWARD_DELAY_MS", "1000")  # as it was when the savepoint was taken
    monkeypatch.setenv("HEADRACE_BANDIT__FAST_MS", "500")
    monkeypatch.setenv("HEADRACE_COVISITATION__HORIZON_DAYS", "8190")  # what it saw counts, however long ago it was
    monkeypatch.setenv("HEADRACE_COVISITATION__HALF_LIFE_DAYS", "36500")
    monkeypatch.setenv("HEADRACE_SESSION__FORGET_MS", f"{36_500 * 86_400_000}")
    folder = releases.unpack("0.1.0", stack.home / "flink" / "savepoints")
    shutil.copytree(folder / "models", stack.home / store.root().relative_to(paths.home()))
    producer = KafkaProducer(**stack.settings.kafka.client())
    for sent in releases.log(folder):
        place = producer.send(sent.topic, b"{}", sent.key.encode(), partition=sent.partition).get(30)
        assert place.offset == sent.offset
    producer.close()
    return folder


def test_savepoints_and_the_version_of_0_1_0_go_on(stack: Stack, release: Path) -> None:
    stack.run("publish", VERSION)
    for job in JOBS:
        savepoint = str(release / "savepoints" / job)
        stack.run("submit", job, "--state-backend", "rocksdb", "--parallelism", "1", "--from-savepoint", savepoint)
    slates = [json.loads(sent.value) for sent in releases.log(release) if sent.topic == IMPRESSIONS]
    arms = Counter(shown["item_id"] for shown in slates)
    arm = slates[-1]["item_id"]
    now_ms = time.time_ns() // 1_000_000
    in_cart = click("new-1", "ann-1", "lamp-new", now_ms) | {"action": "cart"}  # 0.1.0 knew no such action
    send(stack, CLICKS, in_cart, click("new-2", "bob", "lamp-0", now_ms))
    send(stack, CLICKS, click("new-3", "bob", "lamp-1", now_ms + 1))
    send(stack, IMPRESSIONS, slates[-1] | {"impression_id": "new", "user_id": "bob", "ts_ms": now_ms})
    learnt = sums_version.of_rules(SHOPPER, load().bandit)
    client: Any = stack.settings.redis.client()

    def recent() -> list[str]:
        return list(json.loads(session_of(client, "ann-1").get("recent_items", "[]")))

    def others() -> set[str]:
        value = client.get(redis_keys.also_viewed("lamp-0"))
        return {entry["item"] for entry in json.loads(value or b'{"items": []}')["items"]}

    def impressions() -> float:
        value = client.hget(redis_keys.bandit("linucb", learnt), arm)
        return float(unpack_posterior([value]).n[0]) if value else 0.0

    wait(lambda: "lamp-new" in recent(), 60, lambda: f"recent items: {recent()}")
    assert "lamp-1" in recent()  # seen before the savepoint
    session = session_of(client, "ann-1")
    assert (session["count_cart"], session["count_view"]) == ("1", "0")
    wait(lambda: "lamp-1" in others(), 60, lambda: f"also viewed: {others()}")
    assert others() > {"lamp-1", "lamp-2"}  # bob saw lamp-1 alone
    wait(lambda: impressions() == arms[arm] + 1, 60, lambda: f"n of {arm}: {impressions()}, {arms[arm]} before")
    live = redis_keys.live(VERSION, "ann-1")  # the click was on an item that the model does not have
    wait(lambda: client.exists(live) == 1, 60, lambda: "no live list of ann-1")
    assert json.loads(stack.run("recommend", "ann-1", "--json"))
    for job in JOBS:
        found = flink.named(stack.settings.flink, job)
        assert flink.restarts(stack.settings.flink, found) == 0
    stack.commit(60)
    letters = json.loads(stack.run("deadletters", "--count", "--json"))["data"]["counts"]
    assert letters == {}  # nothing before the savepoints is read again


def click(event_id: str, user_id: str, item_id: str, ts_ms: int) -> dict[str, Any]:
    return {"event_id": event_id, "user_id": user_id, "item_id": item_id, "action": "view", "ts_ms": ts_ms}


def send(stack: Stack, name: str, *records: dict[str, Any]) -> None:
    producer = KafkaProducer(**stack.settings.kafka.client())
    for record in records:
        producer.send(name, json.dumps(record).encode(), record["user_id"].encode())
    producer.close()
