"""Runs a job that failed or is gone again, from its last checkpoint or savepoint; takes and keeps savepoints.

    {home}/watch/{job}.json     how the job ran when it was last seen, and its savepoints

A job that was ended by hand stays ended. Going back further than the last checkpoint would write committed records
twice, so a job without a known last place is left to the operator.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from headrace.infra import durable, paths
from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.launch.streaming import Submission, submit
from headrace.infra.operate import watch
from headrace.infra.settings import Settings

SAVEPOINT_WAIT_S = 300
SECOND_LOOK_S = 10.0  # a JobManager that restarts may need so long to run its jobs again
BY_HAND = ("CANCELED", "FINISHED")


class Seen(msgspec.Struct, frozen=True):
    """How a job ran when it was last seen."""

    id: str
    parallelism: int
    state_backend: str
    place: str = ""  # of its last checkpoint or savepoint
    place_ms: int = 0
    savepoints: list[str] = []  # oldest first


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
            _write(name, _seen(settings, job, _read(name)))


def revive(settings: Settings) -> list[watch.WatchFinding]:
    """Runs each job again that does not run and was not ended by hand. Returns a finding for each."""
    gone = [name for name in settings.watch.jobs if not flink.alive(settings.flink, name)]
    if gone:
        time.sleep(SECOND_LOOK_S)
    return [finding for name in gone if (finding := _revived(settings, name))]


def _revived(settings: Settings, name: str) -> watch.WatchFinding | None:
    if flink.alive(settings.flink, name):
        return None
    last = watch.last_of(settings, name)
    if last and last.state in BY_HAND:
        forget(name)
        return None
    seen = _seen(settings, last, _read(name)) if last else _read(name)
    place = _newest_folder(seen) if seen else ""
    if seen is None or not place:
        return watch.WatchFinding(name, "revived", False, f"no checkpoint of it is known: `headrace submit {name}`")
    try:
        submit(settings, Submission(name, seen.parallelism, seen.state_backend, place))
    except HeadraceError as error:
        return watch.WatchFinding(name, "revived", False, str(error))
    return watch.WatchFinding(name, "revived", True, f"from {place}")


def savepoints(settings: Settings) -> list[watch.WatchFinding]:
    """Takes a savepoint of each running job. The newest watch.savepoints_kept of each stay."""
    running = [job for name in settings.watch.jobs if (job := flink.alive(settings.flink, name))]
    return [_savepoint(settings, job) for job in running]


def forget(name: str) -> None:
    _path(name).unlink(missing_ok=True)


def _savepoint(settings: Settings, job: flink.Job) -> watch.WatchFinding:
    try:
        path = flink.savepoint(settings.flink, job, SAVEPOINT_WAIT_S, stop=False)
    except HeadraceError as error:
        return watch.WatchFinding(job.name, "savepoint", False, str(error))
    seen = _seen(settings, job, _read(job.name))
    all_ = [*seen.savepoints, path]
    kept = all_[-settings.watch.savepoints_kept :]
    _write(job.name, msgspec.structs.replace(seen, savepoints=kept))
    for old in all_[: -len(kept)]:
        flink.dispose(settings.flink, old)
    return watch.WatchFinding(job.name, "savepoint", True, path)


def _seen(settings: Settings, job: flink.Job, before: Seen | None) -> Seen:
    vertices = flink.get(settings.flink, f"/jobs/{job.id}")["vertices"]
    checkpoints = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints")
    backend = flink.get(settings.flink, f"/jobs/{job.id}/checkpoints/config")["state_backend"]
    place, place_ms = _last_place(checkpoints["latest"])
    if not place and before:  # no checkpoint yet since it was revived
        place, place_ms = before.place, before.place_ms
    return Seen(
        job.id,
        max(vertex["parallelism"] for vertex in vertices),
        "rocksdb" if "RocksDB" in backend else "hashmap",
        place,
        place_ms,
        before.savepoints if before else [],
    )


def _last_place(latest: dict[str, Any]) -> tuple[str, int]:
    """Returns the newest of the last checkpoint, the last savepoint and the job's own beginning, and its time."""
    taken = [latest[kind] for kind in ("completed", "savepoint") if latest.get(kind)]
    places = [(each["external_path"], each["trigger_timestamp"]) for each in taken]
    if restored := latest.get("restored"):
        places.append((restored["external_path"], 0))
    return max(places, key=lambda each: each[1], default=("", 0))


def _newest_folder(seen: Seen) -> str:
    """Returns the last checkpoint on this machine's disk if it is newer than the noted one, else the noted one."""
    folder = paths.home() / "flink" / "checkpoints" / seen.id
    whole = [path.parent for path in folder.glob("chk-*/_metadata")]
    newest = max(whole, key=lambda path: int(path.name.removeprefix("chk-")), default=None)
    if newest and (newest / "_metadata").stat().st_mtime * 1000 > seen.place_ms:
        return newest.as_uri()
    return seen.place


def _path(name: str) -> Path:
    return paths.home() / "watch" / f"{name}.json"


def _read(name: str) -> Seen | None:
    path = _path(name)
    return msgspec.json.decode(path.read_bytes(), type=Seen) if path.exists() else None


def _write(name: str, seen: Seen) -> None:
    _path(name).parent.mkdir(parents=True, exist_ok=True)
    durable.write(_path(name), msgspec.json.encode(seen))
