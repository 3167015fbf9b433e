"""edge/tracker.py when the spool fails, its thread dies or the process forks; the ones with a broker prove delivery."""

import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.edge import segment, sender, troubles
from headrace.edge.spool import Journal, waiting
from headrace.edge.tracker import Tracker
from headrace.edge.tracker_values import Health, Limits, SpoolFull
from tests.edge.broker import Broker
from tests.edge.test_spool_faults import disk as disk
from tests.edge.test_tracker import arrived, first_arrivals, nowhere, spooled
from tests.stack.running import wait

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

AT_ONCE = Limits(close_s=0)
SMALL_BYTES = 1 << 16


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SMALL_BYTES)


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Tracker]:
    with Tracker(nowhere(), tmp_path / "spool", limits=AT_ONCE) as away:
        yield away


def view(tracker: Tracker, events: int, user: str = "ann") -> list[str]:
    return [tracker.track(user, f"item-{n}", "view") for n in range(events)]


def sending_thread() -> threading.Thread:
    (thread,) = (each for each in threading.enumerate() if each.name == "headrace-shipper")
    return thread


def kill(thread: threading.Thread) -> None:
    """Ends a thread where it is, as no `except Exception` can prevent."""
    assert thread.ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    thread.join(30)
    assert not thread.is_alive()


def until(tracker: Tracker, error: str) -> Health:
    wait(lambda: error in tracker.health().error, 30, lambda: f"the error is not {error}: {tracker.health()}")
    return tracker.health()


# Health.


def test_a_tracker_without_a_broker_says_so(tracker: Tracker) -> None:
    assert tracker.health() == Health(True, True, 0, 0, "")
    view(tracker, 3)
    until(tracker, "Kafka: ConnectionRefusedError")
    wait(lambda: not tracker.health().reachable, 30, lambda: f"{tracker.health()}")
    health = tracker.health()
    assert (health.reachable, health.alive, health.unreadable) == (False, True, 0)
    assert health.waiting_bytes > 3 * 50


def test_a_spool_that_cannot_sync_is_a_trouble_and_no_more(
    tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view(tracker, 1)
    (path,) = (tmp_path / "spool").glob("*/*.log")
    path.unlink()
    path.symlink_to(path)  # opening it is now an error, as on a disk that fails
    ids = view(tracker, 3)
    health = until(tracker, "the disk of the spool: OSError: [Errno 40]")
    assert health.alive
    time.sleep(2 * troubles.RETRY_S)
    assert len(set(ids + view(tracker, 3))) == 6
    assert caplog.text.count("Errno 40") == 1
    assert caplog.text.count("ConnectionRefusedError") == 1


def test_sync_raises_nothing_for_an_event_that_was_taken(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, sync=True, limits=AT_ONCE) as tracker:
        view(tracker, 1)
        (path,) = tmp_path.glob("*/*.log")
        path.unlink()
        view(tracker, 1)
        path.symlink_to(path)
        view(tracker, 1)
        until(tracker, "the disk of the spool: OSError: [Errno 40]")
        assert tracker.counters().spooled == 3


def test_a_full_disk_refuses_until_there_is_room(disk: Path) -> None:
    with Tracker(nowhere(), disk / "spool", limits=AT_ONCE) as tracker:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(10 << 20))
        with pytest.raises(SpoolFull, match=r"takes no more events: .*No space left"):
            view(tracker, 1)
        until(tracker, "")
        ballast.unlink()
        ids = view(tracker, 3)
        assert tracker.health().alive
    assert [event["event_id"] for event in spooled(disk / "spool")] == ids


# The thread.


def test_a_dead_thread_is_not_reachable_and_holds_nobody_up(tmp_path: Path) -> None:
    limits = Limits(buffer_bytes=1000, block_s=30, close_s=0)
    with Tracker(nowhere(), tmp_path, limits=limits) as tracker:
        view(tracker, 10)
        until(tracker, "Kafka")
        kill(sending_thread())
        assert (tracker.health().alive, tracker.health().reachable) == (False, False)
        began_s = time.monotonic()
        view(tracker, 3)
        assert time.monotonic() - began_s < limits.block_s
        assert tracker.health().alive


def test_a_thread_that_dies_lets_go_of_who_waits_for_room(tmp_path: Path) -> None:
    limits = Limits(buffer_bytes=1, block_s=30, close_s=0)
    with Tracker({"bootstrap_servers": "10.255.255.1:9092"}, tmp_path, limits=limits) as tracker:  # it does not answer
        view(tracker, 1)
        waiter = threading.Thread(target=view, args=(tracker, 1))
        began_s = time.monotonic()
        waiter.start()
        wait(lambda: bool(tracker._shipper._progress._waiters), 10, lambda: "nobody waits")  # type: ignore[attr-defined]
        kill(sending_thread())
        waiter.join()
        assert time.monotonic() - began_s < limits.block_s


# Forks.


def in_child(tracker: Tracker, events: int) -> list[str]:
    """What a forked child tracks before it ends without a farewell."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(view(tracker, events)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        ids = pipe.read().split()
    assert os.waitpid(child, 0)[1] == 0
    return ids


def test_a_forked_child_has_a_spool_of_its_own(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, limits=AT_ONCE) as tracker:
        before = view(tracker, 2)
        children = in_child(tracker, 3)
        after = view(tracker, 2)
        (orphan,) = [each for each in waiting(tmp_path) if each.orphaned]
        assert orphan.folder != tracker._journal.folder
        assert orphan.unsent_bytes > 3 * 50
    events = spooled(tmp_path)
    assert len(children) == 3
    assert [event["event_id"] for event in events] == before + after + children
    assert [event["session_position"] for event in events] == [0, 1, 2, 3, 0, 1, 2]
    assert len({event["session_id"] for event in events}) == 2


def test_a_closed_tracker_is_closed_in_a_child(tmp_path: Path) -> None:
    tracker = Tracker(nowhere(), tmp_path, limits=AT_ONCE)
    tracker.close()
    child = os.fork()
    if not child:
        try:
            view(tracker, 1)
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_that_was_forked_while_the_lock_was_held_is_free(tmp_path: Path) -> None:
    with Tracker(nowhere(), tmp_path, limits=AT_ONCE) as tracker, tracker._lock:
        assert len(in_child(tracker, 1)) == 1


# With a broker.


@pytest.mark.stack
@pytest.mark.usefixtures("small")
def test_whatever_happens_to_the_spool_events_arrive(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids: list[str] = []
    with Tracker(broker.kafka.client(), tmp_path) as tracker:
        ids += view(tracker, 100)
        assert tracker.flush(30)
        broker.kill()
        ids += view(tracker, 2000)
        until(tracker, "Kafka")
        first, second, *_ = sorted(tracker._journal.folder.glob("*.log"))
        first.unlink()
        first.mkdir()  # a file that cannot be removed
        second.unlink()
        broker.start()
        assert tracker.flush(60)
        assert "Is a directory" in caplog.text
        assert "has ended" not in caplog.text  # the thread lives on
        shutil.rmtree(tracker._journal.folder)
        ids += view(tracker, 2000)
        kill(sending_thread())
        ids += view(tracker, 2000)
        assert tracker.flush(60)
        assert tracker.health()._replace(error="") == Health(True, True, 0, 0, "")
    assert first_arrivals(arrived(broker)["ann"]) == ids


PARENT_AND_CHILD = """
import os, sys
from pathlib import Path
from headrace.edge.tracker import Tracker
tracker = Tracker({"bootstrap_servers": sys.argv[1]}, Path(sys.argv[2]))
def view(user):
    print(user, *[tracker.track(user, "lamp", "view") for n in range(100)], flush=True)
    return tracker.flush(30) and tracker.health().error == ""
assert view("ann")
if not (child := os.fork()):
    sys.exit(0 if view("bob") else 1)
assert os.waitpid(child, 0)[1] == 0
assert view("ann")
"""


@pytest.mark.stack
def test_a_child_sends_on_its_own_and_leaves_the_parent_alone(broker: Broker, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT_AND_CHILD, broker.kafka.bootstrap, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ann, bob, more = (line.split() for line in done.stdout.splitlines())
    expected = {"ann": ann[1:] + more[1:], "bob": bob[1:]}
    assert {user: [event["event_id"] for event in events] for user, events in arrived(broker).items()} == expected
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.stack
def test_a_running_tracker_takes_over_from_the_dead(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TEND_S", 0.2)
    with Tracker(broker.kafka.client(), tmp_path) as tracker:
        children = in_child(tracker, 50)  # they end at once: most of it is not sent
        own = view(tracker, 50)
        wait(lambda: not any(each.orphaned for each in waiting(tmp_path)), 30, lambda: f"{waiting(tmp_path)}")
        assert tracker.drain(30)
        assert {each["event_id"] for each in arrived(broker)["ann"]} == {*children, *own}


TRACK_AND_DIE = """
import os, signal, sys
from pathlib import Path
from headrace.edge.tracker import Tracker
tracker = Tracker({"bootstrap_servers": sys.argv[1]}, Path(sys.argv[2]))
if not os.fork():
    import time
    time.sleep(60)
print(*[tracker.track("ann", "lamp", "view") for n in range(1000)], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.stack
def test_a_killed_service_is_drained_while_a_child_of_it_lives(broker: Broker, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRACK_AND_DIE, nowhere()["bootstrap_servers"], str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as shop:
        assert shop.stdout
        ids = shop.stdout.readline().decode().split()
        assert shop.wait() == -signal.SIGKILL
        try:
            with Tracker(broker.kafka.client(), tmp_path) as tracker:
                assert tracker.drain(60)
                assert tracker.counters().recovered == 1000
        finally:
            os.killpg(shop.pid, signal.SIGKILL)
    assert first_arrivals(arrived(broker)["ann"]) == ids
    assert Journal.orphans(tmp_path) == []
