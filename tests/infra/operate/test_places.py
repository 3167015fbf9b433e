"""Which places a job can go on from: on the disk, in its note, of the right beginning."""

import os
from pathlib import Path
from typing import Any

import pytest

from headrace.infra import job_notes, paths
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.job_notes import JobNote
from headrace.infra.launch.streaming import Submission
from headrace.infra.operate import beginning, generations, places
from headrace.infra.settings import load

JOB, ID = "session_features", "0" * 32
REMOTE = "s3://shop/chk-3"


@pytest.fixture(autouse=True)
def flink_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flink, "jobs", lambda settings: [])
    monkeypatch.setenv("HEADRACE_KAFKA__TRANSACTION_TIMEOUT_S", f"{100 * 365 * 86_400}")  # so Kafka need not be asked


def checkpoint(number: int, taken_s: int) -> Path:
    folder = paths.home() / "flink" / "checkpoints" / ID / f"chk-{number}"
    folder.mkdir(parents=True)
    (folder / "_metadata").touch()
    os.utime(folder / "_metadata", (taken_s, taken_s))
    return folder


def note(**fields: Any) -> None:
    job_notes.write(JOB, JobNote(ID, 1, "hashmap", **fields))


def found() -> list[str]:
    return [each.path for each in places.places(load(), JOB)]


def test_the_newest_comes_first_whoever_knows_it() -> None:
    assert found() == []
    third, second = checkpoint(3, 30).as_uri(), checkpoint(2, 20).as_uri()
    assert found() == []  # nobody knows whose they are
    note(place=REMOTE, place_ms=25_000)
    assert found() == [third, REMOTE, second]


def test_what_is_gone_passing_or_of_an_earlier_beginning_does_not_count() -> None:
    third, half = checkpoint(3, 30), checkpoint(4, 40)
    (half / "_metadata").unlink()
    note(place=half.as_uri(), place_ms=40_000, passing=[REMOTE])
    assert found() == [third.as_uri()]
    note(place=REMOTE, place_ms=40_000, passing=[REMOTE])
    assert found() == [third.as_uri()]
    for anew_ms, kept in ((30_000, [third.as_uri()]), (30_001, [])):
        note(anew_ms=anew_ms)
        assert found() == kept


def test_one_path_in_two_spellings_is_one_place() -> None:
    third = checkpoint(3, 30)
    note(place=f"file:{third}", place_ms=31_000)
    assert found() == [f"file:{third}"]


def test_notes_of_0_2_0_can_be_read() -> None:
    note()
    path = paths.home() / "watch" / f"{JOB}.json"
    path.write_text('{"id":"1","parallelism":2,"state_backend":"rocksdb","place":"","place_ms":0,"savepoints":["s"]}')
    assert job_notes.read(JOB) == JobNote("1", 2, "rocksdb", savepoints=["s"])


def test_a_bandit_of_another_rule_begins_with_its_own_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    third = checkpoint(3, 30)
    job_notes.write("bandit", JobNote(ID, 1, "hashmap", generation=generations.generation(load(), "bandit")))
    begun = beginning.begin(load(), Submission("bandit"))
    assert begun.submission.from_savepoint == third.as_uri()
    monkeypatch.setenv("HEADRACE_BANDIT__FAST_MS", "9999")
    begun = beginning.begin(load(), Submission("bandit"))
    assert (begun.submission.from_savepoint, begun.overwrites) == (None, "")
    assert begun.submission.anew_ms
    assert generations.group(load(), "bandit") == f"bandit-{begun.submission.generation}"
    monkeypatch.delenv("HEADRACE_BANDIT__FAST_MS")
    job_notes.write("bandit", JobNote(ID, 1, "hashmap"))  # of an earlier release
    assert beginning.begin(load(), Submission("bandit")).submission.from_savepoint == third.as_uri()
    assert generations.group(load(), "bandit") == "bandit"


@pytest.mark.parametrize(("asked", "used"), [(None, "hashmap"), ("hashmap", "hashmap")])
def test_a_checkpoint_keeps_its_state_backend(asked: str | None, used: str) -> None:
    checkpoint(3, 30)
    note()
    assert beginning.begin(load(), Submission(JOB, state_backend=asked)).submission.state_backend == used


def test_another_state_backend_is_refused_at_a_checkpoint_alone() -> None:
    checkpoint(3, 30)
    note()
    wish = Submission(JOB, state_backend="rocksdb")
    with pytest.raises(HeadraceError, match="a checkpoint of state backend hashmap, not rocksdb"):
        beginning.begin(load(), wish)
    note(place="s3://shop/savepoint-1", place_ms=31_000)
    assert beginning.begin(load(), wish).submission.state_backend == "rocksdb"
