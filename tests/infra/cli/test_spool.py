"""`headrace spool` and `spool drain`, and what `watch` says of the events that dead trackers have left."""

import json
import os
from pathlib import Path

import pytest

from headrace.edge import spool as spools
from headrace.edge.spool import Journal
from headrace.edge.tracker import Tracker
from headrace.edge.tracker_values import Limits
from headrace.infra.cli.spool import finding
from tests.edge.broker import Broker
from tests.edge.conftest import broker as broker
from tests.edge.conftest import running_broker as running_broker
from tests.edge.test_tracker import arrived, first_arrivals, nowhere
from tests.infra.cli.test_main import NOWHERE, headrace


def left_by_the_dead(spool: Path, events: int) -> list[str]:
    """What a process tracks before it dies; the events are in its spool alone."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        tracker = Tracker(nowhere(), spool, limits=Limits(close_s=0))
        os.write(writing, " ".join(tracker.track("ann", "lamp", "view") for _ in range(events)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        ids = pipe.read().split()
    os.waitpid(child, 0)
    return ids


def test_it_lists_who_is_alive_and_what_waits(tmp_path: Path) -> None:
    assert f"no tracker has a spool in {tmp_path}" in headrace("spool", "--folder", str(tmp_path)).stdout
    living = Journal.create(tmp_path)
    living.append(b"event")
    left_by_the_dead(tmp_path, 3)
    first, second = headrace("spool", "--folder", str(tmp_path)).stdout.splitlines()
    assert first.split() == ["6", "bytes", "alive", str(living.folder)]
    assert second.split()[1:3] == ["bytes", "dead"]
    found = json.loads(headrace("spool", "--folder", str(tmp_path), "--json").stdout)["data"]
    assert found[0] == {"folder": str(living.folder), "orphaned": False, "unsent_bytes": 6}
    assert found[1]["unsent_bytes"] > 3 * 50


def test_without_kafka_drain_says_so_and_keeps_everything(tmp_path: Path) -> None:
    left_by_the_dead(tmp_path, 3)
    done = headrace("spool", "drain", "--folder", str(tmp_path), **NOWHERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no Kafka at 127.0.0.1:1" in done.stderr
    (orphan,) = Journal.orphans(tmp_path)
    assert len(orphan.window(1 << 20)) == 3


def test_watch_sees_what_the_dead_have_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    assert finding()[2:] == (True, "none on this machine")
    Journal.create(spools.own_root()).append(b"of the living")
    assert finding()[2:] == (True, "none on this machine")
    left_by_the_dead(spools.own_root(), 3)
    found = finding()
    assert not found.ok
    assert found.said.endswith("bytes of 1 dead trackers: `headrace spool drain` sends them")


@pytest.mark.stack
def test_drain_sends_what_the_dead_have_left(broker: Broker, tmp_path: Path) -> None:
    ids = left_by_the_dead(tmp_path, 300)
    kafka = {"HEADRACE_KAFKA__BOOTSTRAP": broker.kafka.bootstrap}
    assert headrace("spool", "drain", "--folder", str(tmp_path), **kafka).stdout == "300 events sent\n"
    assert headrace("spool", "drain", "--folder", str(tmp_path), **kafka).stdout == "0 events sent\n"
    assert first_arrivals(arrived(broker)["ann"]) == ids
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
