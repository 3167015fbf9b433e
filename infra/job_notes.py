"""What is known of how each job last ran, so that it can run again when Flink has forgotten it.

    {home}/watch/{job}.json     one JobNote

`headrace submit` begins a note, `headrace watch` keeps it up to date, `headrace stop` says in it that the job was ended
by hand.
"""

from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from headrace.infra import durable, paths

PASSING_KEPT = 5


class JobNote(msgspec.Struct, frozen=True):
    """How a job ran when it was last seen. New fields have defaults: older notes stay readable."""

    id: str
    parallelism: int
    state_backend: str
    place: str = ""  # its newest known checkpoint or savepoint
    place_ms: int = 0
    savepoints: list[str] = []  # taken by `watch --savepoint`, oldest first
    ended: bool = False  # by hand
    passing: list[str] = []  # savepoints of `restore`, which are soon gone
    generation: str = ""  # what its state means (infra/operate/generations.py)
    anew_ms: int = 0  # it began without state then: what was taken before belongs to another beginning


def read(job: str) -> JobNote | None:
    path = _path(job)
    return msgspec.json.decode(path.read_bytes(), type=JobNote) if path.exists() else None


def write(job: str, note: JobNote) -> None:
    _path(job).parent.mkdir(parents=True, exist_ok=True)
    durable.write(_path(job), msgspec.json.encode(note))


def alone(run: str) -> AbstractContextManager[None]:
    """Lets one process at a time submit a run of this name."""
    return durable.locked(_folder() / run)


def noted_ids() -> set[str]:
    """Returns the id of the newest run of each job."""
    notes = (msgspec.json.decode(path.read_bytes(), type=JobNote) for path in _folder().glob("*.json"))
    return {note.id for note in notes}


def _path(job: str) -> Path:
    return _folder() / f"{job}.json"


def _folder() -> Path:
    return paths.home() / "watch"
