"""`headrace restore`: writes Redis again after a loss of it, beside the running jobs.

A second, bounded run of a job writes the keys that Redis lacks, and never one that is there. So the running job is
left alone, and what it writes meanwhile stays, whichever of the two comes first.

state    session_features, collaborative: from a savepoint of the running job that is taken now, after the loss
log      covisitation: from the clicks that the topic still holds
topic    bandit: from `statistics`, which outlives the impressions

Whatever ends the command cancels that run; the next restore begins again.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec

from headrace.infra import job_notes
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import JOBS, Submission, submit
from headrace.infra.operate import arm_records, places
from headrace.infra.settings import Settings
from headrace.infra.versions import list_files, publication, rules, store

TIMEOUT_S = 6 * 3600.0
SAVEPOINT_WAIT_S, CANCEL_WAIT_S = 300.0, 60.0
POLL_S = 0.5
FROM_STATE, FROM_LOG, BANDIT = ("session_features", "collaborative"), ("covisitation",), "bandit"
RESTORABLE = (*FROM_STATE, *FROM_LOG, BANDIT)


class RestoreSource(NamedTuple):
    """What a restoring run reads: the state at a place, or the log without one; and how the running job has it."""

    place: str | None
    state_backend: str | None
    parallelism: int


def restore(settings: Settings, job: str, tell: Callable[[int], None] = lambda keys: None) -> float:
    """Restores a job's keys and returns the seconds it took.

    tell: is told again and again how many keys Redis has. Raises HeadraceError if the restoring run fails or takes
    longer than TIMEOUT_S.
    """
    began_s = time.monotonic()
    if job == BANDIT:
        arm_records.show(settings, arm_records.newest(settings.kafka))
    elif job in RESTORABLE:
        with _ended_by_signals(), _source(settings, job) as source:
            _run_beside(settings, job, source, tell)
    else:
        raise HeadraceError(f"{job} writes no keys; those that do: {', '.join(RESTORABLE)}")
    return time.monotonic() - began_s


def running(settings: Settings) -> list[str]:
    """Returns the jobs with keys that run now. Raises HeadraceError if there are none."""
    if names := [job for job in JOBS if job in RESTORABLE and flink.alive(settings.flink, job)]:
        return names
    raise HeadraceError(f"no job runs: name the one to restore, of {', '.join(RESTORABLE)}")


def restore_serving(settings: Settings) -> bool:
    """Restores the keys of the serving version and the one before it. Returns False if no version is published."""
    pointer = store.current()
    if pointer is None:
        return False
    if pointer.previous:
        list_files.load(settings.redis, pointer.previous, rules.read(Path(settings.night.rules)))
    publication.project(settings)
    return True


def restoring(job: str) -> str:
    """Returns the name of a job's restoring run, of its consumer group and of its writers."""
    return f"restoring-{job}"


@contextlib.contextmanager
def _source(settings: Settings, job: str) -> Iterator[RestoreSource]:
    """Yields what the restoring run reads; a savepoint of the running job is removed at the end."""
    live = flink.alive(settings.flink, job)
    note = places.note_of(settings, live, job_notes.read(job)) if live else job_notes.read(job)
    backend, parallelism = (note.state_backend, note.parallelism) if note else (None, settings.flink.parallelism)
    if job in FROM_LOG:
        yield RestoreSource(None, backend, parallelism)
    elif live:
        savepoint = flink.savepoint(settings.flink, live, SAVEPOINT_WAIT_S, stop=False)
        _keep_out(job, savepoint)
        try:
            yield RestoreSource(savepoint, backend, parallelism)
        finally:
            flink.dispose(settings.flink, savepoint)
    elif choice := places.choose(settings, job):
        yield RestoreSource(choice.place.path, backend, parallelism)
    else:
        raise HeadraceError(
            f"{job} does not run, and no checkpoint or savepoint of it is known: nothing to restore from"
        )


def _keep_out(job: str, savepoint: str) -> None:
    """Notes a savepoint that will soon be gone, so that no `submit` goes on from it."""
    if note := job_notes.read(job):
        passing = [*note.passing, savepoint][-job_notes.PASSING_KEPT :]
        job_notes.write(job, msgspec.structs.replace(note, passing=passing))


def _run_beside(settings: Settings, job: str, source: RestoreSource, tell: Callable[[int], None]) -> None:
    name = restoring(job)
    _cancel(settings, name)  # one that outlived its command
    free = flink.get(settings.flink, "/overview")["slots-available"]
    parallelism = max(1, min(source.parallelism, free))
    wish = Submission(
        job, parallelism, source.state_backend, source.place, ("--redis-only",), name=name, some_state=True
    )
    try:
        _wait_finished(settings, submit(settings, wish), job, tell)
    finally:
        _cancel(settings, name)


def _cancel(settings: Settings, name: str) -> None:
    if run := flink.alive(settings.flink, name):
        flink.cancel(settings.flink, run, CANCEL_WAIT_S)


def _wait_finished(settings: Settings, job_id: str, job: str, tell: Callable[[int], None]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    client: Any = settings.redis.client()
    of_all = {"target_nodes": "primaries"} if settings.redis.mode == "cluster" else {}
    while time.monotonic() < deadline:
        state = flink.get(settings.flink, f"/jobs/{job_id}")["state"]
        if state == "FINISHED":
            return
        if state not in flink.ALIVE:
            cause = flink.last_failure(settings.flink, flink.Job(job_id, job, state))
            raise HeadraceError(f"the restoring run of {job} is {state}: {cause}")
        tell(client.dbsize(**of_all))
        time.sleep(POLL_S)
    raise HeadraceError(f"the restoring run of {job} has not ended after {TIMEOUT_S:.0f} s")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the command as Ctrl-C does, so that the restoring run is cancelled."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
