"""edge/tracker.py, without a broker and against one that is killed."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from headrace.edge.client_sessions import Sessions
from headrace.edge.spool import Journal
from headrace.edge.spool_line import message
from headrace.edge.tracker import Tracker
from headrace.edge.tracker_values import Counters, Limits, SpoolFull
from headrace.schemas.topics import CLICKS, IMPRESSIONS
from headrace.udfs.contract import Contract, ContractError
from tests import topic
from tests.edge.broker import Broker, free_port

GAP_MS = 1_800_000
EARLIEST_MS = 100_000_000_000  # less would be a time in seconds
IMPRESSION: dict[str, Any] = {
    "impression_id": "slate-1", "user_id": "ann", "surface": "home", "item_id": "lamp", "position": 0,
    "policy": "linucb", "model_version": "v1", "context": [0.5, 1.0], "propensity": 0.25,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def nowhere() -> dict[str, Any]:
    return {"bootstrap_servers": f"127.0.0.1:{free_port()}"}


def spooled(spool: Path) -> list[dict[str, Any]]:
    """Returns what waits in the spool of a closed tracker."""
    events = []
    for journal in Journal.orphans(spool):
        events += [json.loads(message(line).value) for line in journal.window(1 << 30)]
        journal.close()
    return events


# Sessions.


def test_a_session_ends_after_the_gap_and_not_at_it() -> None:
    sessions = Sessions(GAP_MS)
    first, zero = sessions.next("ann", 1000)
    assert zero == 0
    assert sessions.next("ann", 1000 + GAP_MS) == (first, 1)
    second, position = sessions.next("ann", 1001 + 2 * GAP_MS)
    assert second != first
    assert position == 0


def test_a_late_event_neither_ends_a_session_nor_shortens_it() -> None:
    sessions = Sessions(GAP_MS)
    first, _ = sessions.next("ann", 10 * GAP_MS)
    assert sessions.next("ann", 1) == (first, 1)
    assert sessions.next("ann", 11 * GAP_MS) == (first, 2)


def test_the_longest_silent_user_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sessions, "REMEMBERED", 2)
    sessions = Sessions(GAP_MS)
    ann, _ = sessions.next("ann", 0)
    bob, _ = sessions.next("bob", 0)
    sessions.next("ann", 1)
    sessions.next("cid", 2)
    assert sessions.next("ann", 3) == (ann, 2)
    assert sessions.next("bob", 4)[0] != bob


# No broker.


def test_without_a_broker_events_wait_on_disk_in_order(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, limits=Limits(close_s=0)) as tracker:
        ids = [tracker.track("ann", f"item-{n}", "view", ts_ms=EARLIEST_MS + n) for n in range(100)]
        assert tracker.counters() == Counters(sent=0, spooled=100, rejected=0, recovered=0)
        assert not tracker.flush(timeout_s=0.1)
    events = spooled(tmp_path)
    assert [event["event_id"] for event in events] == ids
    assert len(set(ids)) == 100
    assert [event["session_position"] for event in events] == list(range(100))
    assert len({event["session_id"] for event in events}) == 1
    for event in events:
        Contract.of("click").check(event)


def test_an_error_names_field_rule_and_value_and_uses_up_no_position(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, limits=Limits(close_s=0)) as tracker:
        tracker.track("ann", "lamp", "view")
        with pytest.raises(ContractError, match=r"action: .*'look'"):
            tracker.track("ann", "lamp", "look")
        with pytest.raises(ContractError, match=r"price: .*>= 0.*-1"):
            tracker.track("ann", "lamp", "purchase", price=-1)
        with pytest.raises(ContractError, match=r"colour: no such field"):
            tracker.track("ann", "lamp", "view", colour="red")
        with pytest.raises(ContractError, match=r"user_id"):
            tracker.track(["ann"], "lamp", "view")  # type: ignore[arg-type]
        with pytest.raises(ContractError, match=r"propensity: .*0"):
            tracker.impression(**IMPRESSION | {"propensity": 0})
        for seconds in (EARLIEST_MS - 1, 1_767_348_000):
            with pytest.raises(ContractError, match=f"ts_ms: .*{seconds}.* looks like seconds"):
                tracker.track("ann", "lamp", "view", ts_ms=seconds)
            with pytest.raises(ContractError, match=f"ts_ms: .*{seconds}.* looks like seconds"):
                tracker.impression(**IMPRESSION, ts_ms=seconds)
        tracker.track("ann", "lamp", "cart", quantity=2.0)
        assert tracker.counters().rejected == 9
    assert [event["session_position"] for event in spooled(tmp_path)] == [0, 1]


def test_ids_and_sessions_of_the_caller_win(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, limits=Limits(close_s=0)) as tracker:
        assert (
            tracker.track("ann", "lamp", "purchase", event_id="order-1", session_id="cookie", session_position=4)
            == "order-1"
        )
        tracker.impression(**IMPRESSION)
    with Tracker(nowhere(), tmp_path / "b", gap_ms=None, limits=Limits(close_s=0)) as tracker:
        tracker.track("ann", "lamp", "view")
    click, impression = spooled(tmp_path)
    assert (click["event_id"], click["session_id"], click["session_position"]) == ("order-1", "cookie", 4)
    assert impression.keys() == IMPRESSION.keys() | {"ts_ms"}
    assert "session_id" not in spooled(tmp_path / "b")[0]


def test_a_full_spool_refuses_and_says_so(tmp_path: Path) -> None:
    limits = Limits(buffer_bytes=1000, block_s=0.01, spool_bytes=5000, close_s=0)

    def track_too_much() -> None:
        for _ in range(100):
            tracker.track("ann", "lamp", "view")

    full = pytest.raises(SpoolFull, match=r"unsent bytes must be < spool_bytes, got \d+ >= 5000")
    with Tracker(nowhere(), tmp_path, limits=limits) as tracker, full:
        track_too_much()
    assert 4000 < sum(len(json.dumps(event)) for event in spooled(tmp_path)) < 7000


def test_a_closed_tracker_takes_nothing(tmp_path: Path) -> None:
    tracker = Tracker(nowhere(), tmp_path, limits=Limits(close_s=0))
    tracker.close()
    tracker.close()
    with pytest.raises(RuntimeError, match="the tracker is closed"):
        tracker.track("ann", "lamp", "view")


def test_an_absent_broker_does_not_hold_up_the_end(tmp_path: Path) -> None:
    tracker = Tracker(nowhere(), tmp_path)
    tracker.track("ann", "lamp", "view")
    began_s = time.monotonic()
    tracker.close()
    assert time.monotonic() - began_s < 8
    assert len(spooled(tmp_path)) == 1


# A real broker.


def arrived(broker: Broker, name: str = CLICKS) -> dict[str, list[dict[str, Any]]]:
    """Returns user -> events in the order of the log."""
    users = defaultdict(list)
    for record in topic.read(broker.kafka, name):
        event = json.loads(record.value)
        assert record.key == event["user_id"].encode()
        users[event["user_id"]].append(event)
    return users


def first_arrivals(events: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(event["event_id"] for event in events))


@pytest.mark.stack
def test_events_reach_kafka_with_their_sessions(broker: Broker, tmp_path: Path) -> None:
    with Tracker(broker.kafka.client(), tmp_path) as tracker:
        ids = [tracker.track(f"user-{n % 7}", "lamp", "view") for n in range(5000)]
        tracker.impression(**IMPRESSION)
        assert tracker.flush(timeout_s=30)
        assert tracker.counters() == Counters(sent=5001, spooled=0, rejected=0, recovered=0)
    users = arrived(broker)
    for n in range(7):
        assert [event["event_id"] for event in users[f"user-{n}"]] == ids[n::7]
        assert [event["session_position"] for event in users[f"user-{n}"]] == list(range(len(ids[n::7])))
    assert len(arrived(broker, IMPRESSIONS)["ann"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.stack
@pytest.mark.parametrize("away_s", [0.0, pytest.param(25.0, marks=pytest.mark.soak)])  # longer than the client tries
def test_a_broker_killed_in_mid_stream_loses_and_reorders_nothing(
    broker: Broker, tmp_path: Path, away_s: float
) -> None:
    ids: dict[str, list[str]] = defaultdict(list)
    stop = threading.Event()
    tracker = Tracker(broker.kafka.client(), tmp_path)

    def shop() -> None:
        n = 0
        while not stop.wait(0.0005):
            ids[f"user-{n % 50}"].append(tracker.track(f"user-{n % 50}", f"item-{n}", "view"))
            n += 1

    shopper = threading.Thread(target=shop)
    shopper.start()
    for _ in range(2):
        time.sleep(2)
        broker.kill()
        time.sleep(away_s)
        broker.start()
        away_s = 0
    time.sleep(3)
    stop.set()
    shopper.join()
    assert tracker.flush(timeout_s=60)
    tracker.close()
    assert {user: first_arrivals(events) for user, events in arrived(broker).items()} == ids


TRACK_FOREVER = """
import sys
from pathlib import Path
from headrace.edge.tracker import Tracker
tracker = Tracker({"bootstrap_servers": sys.argv[1]}, Path(sys.argv[2]))
for n in range(10**9):
    print(n % 20, tracker.track(f"user-{n % 20}", "lamp", "view"), flush=True)
"""


@pytest.mark.stack
@pytest.mark.parametrize("broker_up", [True, False], ids=["broker up", "broker away"])
def test_what_track_returned_for_survives_sigkill(broker: Broker, tmp_path: Path, broker_up: bool) -> None:
    if not broker_up:
        broker.kill()
    command = [sys.executable, "-c", TRACK_FOREVER, broker.kafka.bootstrap, str(tmp_path)]
    shop = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert shop.stdout
    returned = [shop.stdout.readline() for _ in range(20_000)]
    shop.send_signal(signal.SIGKILL)
    rest = shop.communicate()[0]
    returned += rest[: rest.rfind("\n") + 1].splitlines()  # the kill can cut the last line
    if not broker_up:
        broker.start()
    with Tracker(broker.kafka.client(), tmp_path) as successor:
        own = successor.track("user-3", "lamp", "purchase")
        assert successor.flush(timeout_s=60)
        assert successor.counters().recovered > 0 or broker_up
    ids = defaultdict(list)
    for line in returned:
        user, event_id = line.split()
        ids[f"user-{user}"].append(event_id)
    users = {user: first_arrivals(events) for user, events in arrived(broker).items()}
    assert users["user-3"].pop() == own
    # At most one event per user more: its track() was about to return.
    assert {user: found[: len(ids[user])] for user, found in users.items()} == ids
    assert sum(map(len, users.values())) - sum(map(len, ids.values())) <= 1


@pytest.mark.stack
def test_a_short_script_needs_no_close(broker: Broker, tmp_path: Path) -> None:
    script = TRACK_FOREVER.replace("10**9", "100")
    subprocess.run([sys.executable, "-c", script, broker.kafka.bootstrap, str(tmp_path)], check=True, timeout=60)
    assert sum(map(len, arrived(broker).values())) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.stack
def test_a_broker_that_pauses_gets_the_rest_at_the_end(broker: Broker, tmp_path: Path) -> None:
    tracker = Tracker(broker.kafka.client(), tmp_path)
    tracker.track("ann", "lamp", "view")
    assert tracker.flush(30)
    broker.pause()
    tracker.track("ann", "lamp", "purchase")
    ending = threading.Thread(target=tracker.close)
    ending.start()
    time.sleep(4)  # longer than a broker may be silent before it counts as away
    broker.go_on()
    ending.join()
    assert sum(map(len, arrived(broker).values())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
