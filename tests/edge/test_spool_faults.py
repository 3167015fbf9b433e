"""edge/spool.py when the disk is full, files are removed, a child is forked, or a folder cannot be taken over."""

import errno
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

from headrace.edge import segment
from headrace.edge.journal_lock import Lock, alone
from headrace.edge.spool import Journal, Waiting, waiting
from tests.edge.test_spool import killed, read
from tests.stack.running import wait

SMALL_BYTES = 4096


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "SEGMENT_BYTES", SMALL_BYTES)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB: one segment of the usual size fits, a second one does not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def appended(journal: Journal, events: int) -> list[bytes]:
    lines = [b"event %6d" % n for n in range(journal.appended, journal.appended + events)]
    for line in lines:
        journal.append(line)
    return lines


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# A full disk.


def test_a_full_disk_refuses_an_event_and_leaves_nothing(disk: Path) -> None:
    journal, large = Journal.create(disk), b"x" * (5 << 20)
    journal.append(large)
    before, files = open_files(), sorted(disk.rglob("*"))
    for _ in range(20):
        with pytest.raises(OSError, match="No space left") as full:
            journal.append(large)
        assert full.value.errno == errno.ENOSPC
    assert open_files() == before
    assert sorted(disk.rglob("*")) == files
    assert (journal.appended, journal.unsent_bytes) == (1, len(large) + 1)
    assert read(journal) == [large]


def test_with_room_again_it_goes_on(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(10 << 20))
    journal = Journal.create(disk)
    with pytest.raises(OSError, match="No space left"):
        journal.append(b"one")
    ballast.unlink()
    journal.append(b"two")
    assert read(journal) == [b"two"]


# Files that somebody removes.


@pytest.mark.usefixtures("small")
def test_removed_segments_are_sent_and_raise_nothing(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    lines = appended(journal, 2000)
    for path in tmp_path.glob("*/*.log"):
        path.unlink()
    journal.sync()
    lines += appended(journal, 500)
    assert read(journal) == lines
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.usefixtures("small")
def test_a_removed_folder_is_made_again_and_is_locked(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    lines = appended(journal, 100)
    shutil.rmtree(tmp_path)
    lines += appended(journal, 500)
    assert journal.folder.is_dir()
    assert Journal.orphans(tmp_path) == []
    assert read(journal) == lines


def test_a_removed_lock_is_made_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    (journal.folder / "lock").unlink()
    journal.touch()
    assert Journal.orphans(tmp_path) == []
    killed(journal)
    (orphan,) = Journal.orphans(tmp_path)
    assert read(orphan) == [b"event"]


def test_touch_keeps_files_young_and_says_when_one_is_gone(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    files = list(journal.folder.iterdir())
    for path in files:
        os.utime(path, (0, 0))
    journal.touch()
    assert {path.name for path in files} == {"lock", "00000001.log"}
    assert all(path.stat().st_mtime > 0 for path in files)
    (journal.folder / "00000001.log").unlink()
    with pytest.raises(FileNotFoundError):
        journal.touch()


@pytest.mark.usefixtures("small")
def test_a_segment_that_cannot_be_removed_is_an_error_once(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    lines = appended(journal, 500)
    stubborn = journal.folder / "00000001.log"
    stubborn.unlink()
    stubborn.mkdir()
    found: list[bytes] = []
    errors = 0
    while len(found) < len(lines):
        try:
            found += journal.window(1 << 20)
        except OSError:
            errors += 1
            continue
        journal.mark_sent(1)
    assert (found, errors) == (lines, 1)


# sync.


@pytest.mark.usefixtures("small")
def test_sync_covers_every_segment(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    appended(journal, 2000)
    journal.sync()
    assert len(journal._segments) > 4
    assert all(each._synced == each.end for each in journal._segments)
    journal.append(b"one more")
    assert journal._segments[-1]._synced < journal._segments[-1].end
    journal.sync()
    assert journal._segments[-1]._synced == journal._segments[-1].end


@pytest.mark.usefixtures("small")
def test_sync_beside_a_reader_raises_nothing(tmp_path: Path) -> None:
    journal, found, done = Journal.create(tmp_path), [], threading.Event()

    def send() -> None:
        while not done.is_set() or journal.unsent_bytes:
            found.extend(read(journal))

    reader = threading.Thread(target=send)
    reader.start()
    lines = []
    for _ in range(60):
        lines += appended(journal, 400)
        journal.sync()
    done.set()
    reader.join()
    assert found == lines


# Forks.

FORK = """
import os, sys, time
from pathlib import Path
from headrace.edge.spool import Journal
journal = Journal.create(Path(sys.argv[1]))
journal.append(b"of the parent")
child = os.fork()
if not child:
    try:
        journal.append(b"of the child")
    except RuntimeError:
        time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


def test_a_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert Journal.orphans(tmp_path) == []
    parent.kill()
    parent.wait()
    try:
        wait(lambda: waiting(tmp_path)[0].orphaned, 20, lambda: "the child keeps the lock")
        (orphan,) = Journal.orphans(tmp_path)
        assert read(orphan) == [b"of the parent"]
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_has_no_lock(tmp_path: Path) -> None:
    lock = Journal.create(tmp_path)._lock
    child = os.fork()
    if not child:
        os._exit(bool(lock))
    assert os.waitpid(child, 0)[1] == 0
    assert lock


def test_a_child_that_was_forked_during_a_look_keeps_nobody_out(tmp_path: Path) -> None:
    with alone(tmp_path):
        if not (child := os.fork()):
            time.sleep(60)
            os._exit(0)
    waiter = threading.Thread(target=Journal.orphans, args=(tmp_path,), daemon=True)
    waiter.start()
    waiter.join(20)
    waits = waiter.is_alive()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not waits


def test_who_need_not_wait_does_not(tmp_path: Path) -> None:
    Journal.create(tmp_path)._lock.drop()
    with alone(tmp_path), pytest.raises(BlockingIOError):
        Journal.orphans(tmp_path, wait=False)
    assert len(Journal.orphans(tmp_path, wait=False)) == 1


# Taking over, and looking.


def test_a_folder_that_cannot_be_taken_over_costs_itself_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    killed(journal)
    broken = tmp_path / "00000000000000000001-1"
    (broken / "lock").mkdir(parents=True)
    (tmp_path / "00000000000000000002-2").mkdir()
    (tmp_path / "00000000000000000002-2" / "00000001.log").touch()  # a power cut can leave it empty
    empty, orphan = Journal.orphans(tmp_path)
    assert (read(empty), read(orphan)) == ([], [b"event"])
    Journal.orphans(tmp_path)
    assert caplog.text.count(f"{broken} cannot be taken over") == 1


def test_a_look_says_what_waits_and_takes_nothing(tmp_path: Path) -> None:
    assert waiting(tmp_path / "none") == []
    dead, living = Journal.create(tmp_path), Journal.create(tmp_path)
    dead.append(b"event")
    living.append(b"events")
    killed(dead)
    expected = [Waiting(dead.folder, True, 6), Waiting(living.folder, False, 7)]
    assert waiting(tmp_path) == expected
    assert waiting(tmp_path) == expected
    (orphan,) = Journal.orphans(tmp_path)
    assert read(orphan) == [b"event"]
    assert Lock.claim(living.folder) is None
