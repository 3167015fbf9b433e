"""Landing by `headrace run`, from a real broker, killed half-way, while shoppers click."""

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.infra import paths
from headrace.infra.clients import kafka_topics
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.edge.broker import Broker
from tests.stack.running import HEADRACE, wait
from tests.streams.clicks import Record

pytestmark = [pytest.mark.stack, pytest.mark.shop]
USERS, REPEATED, BAD_EVERY = 40, 200, 100
ROWS = """
import json, sys
from datetime import date
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.spark import session
spark = session("rows")
found = [[row.user_id, row.event_id] for row in tables.clicks(spark, date(2100, 1, 1)).collect()]
letters = tables.Lake(spark).read(sys.argv[1]).count()
print(json.dumps({"found": found, "letters": letters}))
"""


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    broker = Broker(tmp_path)
    broker.start()
    broker.create_topics()
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", broker.kafka.bootstrap)
    monkeypatch.setenv("HEADRACE_NIGHT__LAND_RECORDS", "3000")
    yield broker
    broker.kill()


def records(first: int, count: int, now_ms: int) -> list[Record]:
    """Returns clicks of two days; every hundredth record is no click."""
    return [
        Record(f"u{n % USERS}".encode(), b"bad" if n % BAD_EVERY == 0 else json.dumps(event(n, now_ms)).encode())
        for n in range(first, first + count)
    ]


def event(n: int, now_ms: int) -> dict[str, Any]:
    what = {"event_id": f"e{n}", "user_id": f"u{n % USERS}", "item_id": f"i{n % 30}", "action": "view"}
    return what | {"ts_ms": now_ms - (n % 48) * 3_600_000}


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [HEADRACE, "run", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_each_event_lands_once(broker: Broker, tmp_path: Path) -> None:
    """9,000 records and repeats; a landing is killed after its first commit; more come during the second; a third."""
    now_ms = time.time_ns() // 1_000_000
    topic.send(broker.kafka, CLICKS, records(0, 9_000, now_ms) + records(1, REPEATED, now_ms))
    killed = start("land")
    snapshots = tmp_path / "lake" / "_snapshots"
    wait(lambda: any(snapshots.glob("*.json")), 120, lambda: f"no snapshot: {killed.poll()}")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list(tmp_path.glob("nights/*/land")), "the night's step is not done"
    sender = threading.Thread(target=lambda: topic.send(broker.kafka, CLICKS, records(9_000, 1_000, now_ms)))
    second = start("land")
    sender.start()
    said, errors = second.communicate(timeout=180)
    sender.join()
    assert (second.returncode, errors.replace("\r", "").strip()[-200:] if second.returncode else "") == (0, ""), said
    third = start("land", "--again")
    assert third.communicate(timeout=180)[1].count("Exception") == 0
    python = paths.python("batch")
    told = subprocess.run(
        [python, "-c", ROWS, "dead_letters"], capture_output=True, text=True, check=True, env=spark_environment()
    )
    lake = json.loads(told.stdout)
    sent = list(topic.read(broker.kafka, CLICKS))
    good = [json.loads(each.value) for each in sent if each.value != b"bad"]
    once = {(each["user_id"], each["event_id"]) for each in good}
    assert Counter(map(tuple, lake["found"])) == Counter(once)
    assert len(sent) == len(once) + (len(good) - len(once)) + lake["letters"]
    (landed,) = tmp_path.glob("nights/*/land/landed.json")
    ends = {str(part): [0, end] for part, end in topic.ends(broker.kafka, CLICKS).items()}
    assert json.loads(landed.read_text())["topics"][CLICKS] == ends
    make_anew(broker, CLICKS)
    topic.send(broker.kafka, CLICKS, records(20_000, 11_000, now_ms))  # as far as the old one was, and further
    other = start("land", "--again")
    said, errors = other.communicate(timeout=120)
    assert other.returncode == 1
    assert "headrace: clicks: the topic was made anew: the lake covers" in errors
    broker.kill()
    away = start("land", "--again")
    said, errors = away.communicate(timeout=120)
    assert away.returncode == 1
    assert errors.startswith("headrace: no Kafka at")
    assert len(errors.splitlines()) == 1


def make_anew(broker: Broker, name: str) -> None:
    with kafka_topics.admin(broker.kafka) as client:
        client.delete_topics([name := broker.kafka.name(name)])
        wait(lambda: name not in client.list_topics(), 20, lambda: f"{name} is still there")
    broker.create_topics()


def spark_environment() -> dict[str, str]:
    from headrace.infra.launch import batch
    from headrace.infra.settings import load

    return batch.environment(load().spark)
