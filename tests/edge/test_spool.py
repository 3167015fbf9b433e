"""edge/spool.py: order, segments, and what a killed process leaves."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.edge import segment
from headrace.edge.spool import Journal

EVERYTHING = 1 << 30


def read(journal: Journal, max_bytes: int = EVERYTHING) -> list[bytes]:
    lines = []
    while window := journal.window(max_bytes):
        lines += window
        journal.mark_sent(len(window))
    return lines


def killed(journal: Journal) -> None:
    """Does what the kernel does when a process is killed."""
    journal._lock.drop()


def test_gives_back_what_was_appended_in_order(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    lines = [b"event %d" % n for n in range(1000)]
    for line in lines:
        journal.append(line)
    assert journal.unsent_bytes == sum(len(line) + 1 for line in lines)
    assert read(journal, max_bytes=100) == lines
    assert (journal.appended, journal.sent, journal.unsent_bytes) == (1000, 1000, 0)


def test_a_window_is_the_same_until_it_is_sent(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"one")
    assert journal.window(EVERYTHING) == [b"one"]
    journal.append(b"two")
    assert journal.window(3) == [b"one"]  # at least one line, however long
    assert journal.window(EVERYTHING) == [b"one", b"two"]


def test_sent_segments_leave_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "SEGMENT_BYTES", 4096)
    journal = Journal.create(tmp_path)
    lines = [b"event %4d" % n for n in range(2000)]
    for line in lines:
        journal.append(line)
    assert len(list(tmp_path.glob("*/*.log"))) > 4
    assert read(journal) == lines
    assert len(list(tmp_path.glob("*/*.log"))) == 1


def test_an_empty_journal_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    read(journal)
    journal.close()
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_living_process_keeps_its_journal(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    assert Journal.orphans(tmp_path) == []


def test_the_next_process_takes_over_where_the_dead_one_stopped(tmp_path: Path) -> None:
    for name in (b"first", b"second"):
        journal = Journal.create(tmp_path)
        for n in range(10):
            journal.append(b"%b %d" % (name, n))
        journal.window(len(b"first 0\n") * 4)
        journal.mark_sent(4)
        killed(journal)
    first, second = Journal.orphans(tmp_path)
    assert read(first) == [b"first %d" % n for n in range(4, 10)]
    assert read(second)[-1] == b"second 9"
    assert Journal.orphans(tmp_path) == []


def test_a_line_cut_by_the_kill_does_not_count(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"whole")
    segment = journal._segments[0]
    segment._map[segment.end : segment.end + 4] = b"hal\0"  # copied, but its newline never came
    killed(journal)
    (orphan,) = Journal.orphans(tmp_path)
    assert read(orphan) == [b"whole"]
    orphan.close()
    assert not list(tmp_path.glob("*/"))


def test_a_header_lost_in_a_power_cut_means_all_is_sent_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    journal.append(b"event")
    read(journal)
    journal._segments[0]._map[:20] = bytes(20)
    killed(journal)
    (orphan,) = Journal.orphans(tmp_path)
    assert read(orphan) == [b"event"]


def test_an_event_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    journal, limit = Journal.create(tmp_path), segment.SEGMENT_BYTES - segment.HEADER_BYTES
    with pytest.raises(ValueError, match=f"an event must be < {limit} bytes, got {limit}"):
        journal.append(b"x" * limit)
    assert not list(tmp_path.glob("*/*.log"))
    journal.append(b"x" * (limit - 1))
    assert [len(line) for line in read(journal)] == [limit - 1]


APPEND_FOREVER = """
import sys
from pathlib import Path
from headrace.edge.spool import Journal
journal = Journal.create(Path(sys.argv[1]))
for n in range(10**9):
    journal.append(b"event %d" % n)
    print(n, flush=True)
"""


def test_sigkill_loses_nothing_that_append_returned_for(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", APPEND_FOREVER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout
    printed = b"".join(writer.stdout.readline() for _ in range(20_000))
    writer.send_signal(signal.SIGKILL)
    printed += writer.communicate()[0]
    returned = printed.count(b"\n")
    (orphan,) = Journal.orphans(tmp_path)
    lines = read(orphan)
    assert lines == [b"event %d" % n for n in range(len(lines))]
    assert len(lines) in (returned, returned + 1)
