"""What follows from the pointer to the version that serves: Redis, MLflow's aliases, and which versions may go.

The pointer, {home}/models/current.json, moves first and alone (infra/versions/store.py). Whoever projects it does so
under a lock and reads it there: of two at once the later projection is of the pointer that stands, and a process that
died in between is made good by the next one.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.infra import durable, paths
from headrace.infra.launch import batch
from headrace.infra.settings import Settings
from headrace.infra.versions import list_files, redis_view, store
from headrace.infra.versions.store import Pointer


@contextmanager
def projecting() -> Iterator[None]:
    """One process at a time; not the lock of the pointer, which moves meanwhile."""
    with durable.locked(store.root() / ".projecting"):
        yield


def project(settings: Settings, with_lists: bool = True) -> Pointer | None:
    """Show in Redis the version that serves. with_lists: send its lists, too, for they may not be there."""
    with projecting():
        pointer = store.current()
        if pointer:
            if with_lists:
                list_files.load(settings.redis, pointer.version)
            redis_view.show(settings.redis.client(), store.load(pointer.version), pointer)
    return pointer


def move_aliases() -> str:
    """Let MLflow's aliases follow, where there is a registry; what went wrong, if anything did."""
    if not paths.python("batch").exists() or not (paths.home() / "mlflow").is_dir():
        return ""
    command = batch.command("upkeep", ["--aliases"])
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode else ""


def tidy(settings: Settings) -> list[str]:
    """The versions that are no longer kept, and went: from disk with their index, and from Redis.

    The lists of a version that is kept leave when it is neither champion nor previous; unless it is newer than the
    champion, for then it may be about to become one.
    """
    client = settings.redis.client()
    client.ping()  # what is deleted here while Redis is away would stay there
    gone = store.prune(settings.night.versions_kept)
    for version in gone:
        shutil.rmtree(index(version), ignore_errors=True)
    idle = sorted({*gone, *_idle()})
    for version in idle:
        list_files.remove(settings.redis, version)
    redis_view.unlink(client, idle)
    return gone


def index(version: str) -> Path:
    return paths.home() / "indexes" / version


def _idle() -> list[str]:
    pointer = store.current()
    if pointer is None:
        return []
    born = {each.version: each.created_ms for each in store.versions()}
    served = {pointer.version, pointer.previous}
    return [
        version
        for version in {*list_files.versions(), *born}
        if version not in served and born.get(version, 0) <= born[pointer.version]
    ]
