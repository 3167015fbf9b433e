"""The checkpoints and savepoints that a job can go on from: what Flink remembers, what is noted, what is on the disk.

A job that goes on from the newest of them writes nothing twice and loses nothing, with one exception. Flink commits a
checkpoint's transactions after it. When a job is away between the two for longer than kafka.transaction_timeout_s,
Kafka aborts them. Then the job goes on from the checkpoint before, and writes their records again.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from headrace.infra import job_notes, paths
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.job_notes import JobNote
from headrace.infra.operate import transactions
from headrace.infra.settings import Settings

CHECKPOINT = re.compile(r"/chk-(\d+)/?$")


class Place(NamedTuple):
    path: str
    taken_ms: int

    @property
    def checkpoint(self) -> int:
        """Flink's number of the checkpoint; 0 if this is a savepoint."""
        found = CHECKPOINT.search(self.path)
        return int(found[1]) if found else 0


class Choice(NamedTuple):
    """Where a job is to go on. lost: transactions of a newer checkpoint, which Kafka aborted."""

    place: Place
    lost: tuple[str, ...] = ()


def choose(settings: Settings, job: str) -> Choice | None:
    """Returns where the job goes on; None if no place is known. Asks Kafka only after a long outage."""
    known = places(settings, job)
    if not known:
        return None
    newest = known[0]
    before = next((each for each in known[1:] if 0 < each.checkpoint < newest.checkpoint), None)
    away_s = time.time() - newest.taken_ms / 1000
    if not newest.checkpoint or away_s <= settings.kafka.transaction_timeout_s:
        return Choice(newest)
    lost = transactions.aborted(settings.kafka, job, before.checkpoint if before else 0, newest.checkpoint)
    return Choice(before if lost and before else newest, tuple(lost))


def places(settings: Settings, job: str) -> list[Place]:
    """Returns the known places that are still there, the newest first. Those of an earlier beginning are left out."""
    note = job_notes.read(job)
    runs = [each for each in flink.jobs(settings.flink) if each.name == job]
    found = [place for run in runs for place in of_run(settings, run)]
    found += [place for id_ in {run.id for run in runs} | ({note.id} if note else set()) for place in _on_disk(id_)]
    found += [Place(note.place, note.place_ms)] if note and note.place else []
    newest = {_same(each.path): each for each in sorted(found, key=lambda each: each.taken_ms)}
    since_ms = note.anew_ms if note else 0
    passing = set(map(_same, note.passing)) if note else set()
    kept = [each for path, each in newest.items() if each.taken_ms >= since_ms and path not in passing]
    return sorted(filter(_exists, kept), key=lambda each: -each.taken_ms)


def of_run(settings: Settings, run: flink.Job) -> list[Place]:
    """Returns what Flink remembers of one run: checkpoints, its last savepoint, and the place where it began."""
    try:
        answer = flink.get(settings.flink, f"/jobs/{run.id}/checkpoints")
    except HeadraceError:  # it never came so far
        return []
    latest = answer["latest"]
    done = [*answer["history"], *(latest[kind] for kind in ("completed", "savepoint") if latest.get(kind))]
    found = [Place(each["external_path"], each["trigger_timestamp"]) for each in done if _is_kept(each)]
    if restored := latest.get("restored"):
        found.append(Place(restored["external_path"], run.start_ms))
    return found


def note_of(settings: Settings, job: flink.Job, before: JobNote | None) -> JobNote:
    """Returns the note of a job that Flink knows. Raises HeadraceError if Flink is still setting it up."""
    vertices = flink.get(settings.flink, f"/jobs/{job.id}")["vertices"]
    backend = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints/config")["state_backend"]
    passing = set(map(_same, before.passing)) if before else set()
    known = [each for each in of_run(settings, job) if _same(each.path) not in passing]
    if before and before.place:  # no checkpoint yet since it was revived
        known.append(Place(before.place, before.place_ms))
    newest = max(known, key=lambda each: each.taken_ms, default=Place("", 0))
    note = before or JobNote(job.id, 1, "")
    return msgspec.structs.replace(
        note,
        id=job.id,
        parallelism=max(vertex["parallelism"] for vertex in vertices),
        state_backend="rocksdb" if "RocksDB" in backend else "hashmap",
        place=newest.path,
        place_ms=newest.taken_ms,
    )


def _is_kept(checkpoint: dict[str, Any]) -> bool:
    return checkpoint["status"] == "COMPLETED" and not checkpoint.get("discarded") and bool(checkpoint["external_path"])


def _same(path: str) -> str:
    """Returns one spelling of a path: Flink writes file:/a, others file:///a."""
    return re.sub(r"^file:/+", "file:///", path).rstrip("/")


def _on_disk(job_id: str) -> Iterator[Place]:
    """Yields the whole checkpoints of a run in the local stack's folder."""
    for metadata in (paths.home() / "flink" / "checkpoints" / job_id).glob("chk-*/_metadata"):
        with contextlib.suppress(FileNotFoundError):  # Flink has just removed it
            yield Place(metadata.parent.as_uri(), int(metadata.stat().st_mtime * 1000))


def _exists(place: Place) -> bool:
    """Returns whether the place is there, as far as this machine can know: it sees the local stack's folders alone."""
    local = Path(urlsplit(place.path).path)
    ours = place.path.startswith(("file:", "/")) and local.is_relative_to(paths.home())
    return not ours or (local / "_metadata").exists()
