"""Runs a job that failed or is gone again, from its last checkpoint or savepoint; takes and keeps savepoints.

A job that was ended by hand stays ended. Going back further than need be would write committed records twice, so a job
without a known last place is left to the operator.
"""

import contextlib
import time
from dataclasses import replace

import msgspec

from headrace.infra import job_notes
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.job_notes import JobNote
from headrace.infra.launch.streaming import Submission, submit
from headrace.infra.operate import beginning, generations, places, watch
from headrace.infra.settings import Settings

SAVEPOINT_WAIT_S = 300
SECOND_LOOK_S = 10.0  # a JobManager that restarts may need so long to run its jobs again
BY_HAND = ("CANCELED", "FINISHED")


def care(settings: Settings, revive_gone: bool, take_savepoints: bool) -> list[watch.WatchFinding]:
    """Revives, takes savepoints and notes the jobs, as asked. Returns what was done, and whether it went well."""
    try:
        done = revive(settings) if revive_gone else []
        done += savepoints(settings) if take_savepoints else []
        note(settings)
    except HeadraceError as error:
        return [watch.WatchFinding("flink", "answers", False, str(error))]
    return done


def note(settings: Settings) -> None:
    """Notes of every running job what it takes to run it again, if Flink should forget it."""
    for name in settings.watch.jobs:
        if job := flink.alive(settings.flink, name):
            job_notes.write(name, places.note_of(settings, job, job_notes.read(name)))


def revive(settings: Settings) -> list[watch.WatchFinding]:
    """Runs each job again that does not run and was not ended by hand. Returns a finding for each."""
    gone = [name for name in settings.watch.jobs if not flink.alive(settings.flink, name)]
    if gone:
        time.sleep(SECOND_LOOK_S)
    return [finding for name in gone if (finding := _revived(settings, name))]


def _revived(settings: Settings, name: str) -> watch.WatchFinding | None:
    if flink.alive(settings.flink, name):
        return None
    note, last = job_notes.read(name), watch.last_of(settings, name)
    if (note and note.ended) or (last and last.state in BY_HAND):
        return None
    try:
        choice = places.choose(settings, name)
        if choice is None:
            return watch.WatchFinding(name, "revived", False, f"no checkpoint of it is known: `headrace submit {name}`")
        wish = _as_before(settings, name, note)
        if beginning.is_changed(wish):
            return watch.WatchFinding(
                name, "revived", False, f"what its state means has changed: `headrace submit {name}`"
            )
        begun = beginning.begin_at(wish, choice)
        submit(settings, begun.submission)
    except HeadraceError as error:
        return watch.WatchFinding(name, "revived", False, str(error))
    return watch.WatchFinding(name, "revived", True, begun.where)


def _as_before(settings: Settings, name: str, note: JobNote | None) -> Submission:
    wish = Submission(name, note.parallelism, note.state_backend) if note else Submission(name)
    return replace(wish, generation=generations.generation(settings, name))


def savepoints(settings: Settings) -> list[watch.WatchFinding]:
    """Takes a savepoint of each running job. The newest watch.savepoints_kept of each stay."""
    running = [job for name in settings.watch.jobs if (job := flink.alive(settings.flink, name))]
    return [_savepoint(settings, job) for job in running]


def end(settings: Settings, job: flink.Job) -> None:
    """Notes that a job was ended by hand, so that nobody revives it, and where it can go on."""
    before = job_notes.read(job.name)
    note = before or JobNote(job.id, settings.flink.parallelism, settings.flink.state_backend)
    with contextlib.suppress(HeadraceError):  # one that Flink is still setting up is ended all the same
        note = places.note_of(settings, job, before)
    job_notes.write(job.name, msgspec.structs.replace(note, ended=True))


def go_on(settings: Settings, job: flink.Job) -> None:
    """Takes back that a job was ended, if it still runs."""
    if (note := job_notes.read(job.name)) and flink.alive(settings.flink, job.name):
        job_notes.write(job.name, msgspec.structs.replace(note, ended=False))


def _savepoint(settings: Settings, job: flink.Job) -> watch.WatchFinding:
    try:
        path = flink.savepoint(settings.flink, job, SAVEPOINT_WAIT_S, stop=False)
    except HeadraceError as error:
        return watch.WatchFinding(job.name, "savepoint", False, str(error))
    note = places.note_of(settings, job, job_notes.read(job.name))
    all_ = [*note.savepoints, path]
    kept = all_[-settings.watch.savepoints_kept :]
    job_notes.write(job.name, msgspec.structs.replace(note, savepoints=kept))
    for old in all_[: -len(kept)]:
        flink.dispose(settings.flink, old)
    return watch.WatchFinding(job.name, "savepoint", True, path)
