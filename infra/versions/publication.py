"""What follows from the pointer to the serving version: Redis, MLflow's aliases, and which versions may go.

The pointer, {home}/models/current.json, moves first and alone (infra/versions/store.py). A process that shows it
elsewhere takes a lock first, and reads it then. If two processes publish at once, Redis ends up showing the current
pointer. If one dies half-way, the next run finishes its work.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.launch import batch
from headrace.infra.settings import Settings
from headrace.infra.versions import list_files, redis_view, removal, rules, store
from headrace.infra.versions.rules import ItemRules
from headrace.infra.versions.store import Pointer
from headrace.schemas import redis_keys


@contextmanager
def projecting() -> Iterator[None]:
    """Lets one process in at a time. It is not the lock of the pointer, which may move meanwhile."""
    with durable.locked(store.root() / ".projecting"):
        yield


def project(settings: Settings, with_lists: bool = True) -> Pointer | None:
    """Shows the serving version in Redis as the rules of now allow it, and returns the pointer.

    with_lists: sends its lists, too. Lists that are in Redis already lose what the rules leave out by now. Raises
    HeadraceError if Redis then names another version.
    """
    with projecting():
        pointer = store.current()
        if pointer:
            model, client = store.load(pointer.version), settings.redis.client()
            obeyed = rules.in_stock(Path(settings.night.rules), model.contents.items)
            if with_lists:
                list_files.load(settings.redis, pointer.version, obeyed)
            if obeyed != ItemRules():
                removal.remove(client, redis_keys.of_versions() + redis_keys.together(), obeyed)
            redis_view.show(client, model, pointer, obeyed)
            if (shown := redis_view.serving(client)) != pointer.version:
                raise HeadraceError(f"{redis_keys.model_current()} must name {pointer.version}, got {shown}")
    return pointer


def show_popular(settings: Settings, version: str, obeyed: ItemRules) -> None:
    """Shows a version's popular list, which is in no file of its lists, before the version serves."""
    redis_view.show_popular(settings.redis.client(), store.load(version), obeyed)


def move_aliases() -> str:
    """Lets MLflow's aliases follow the pointer, if there is a registry. Returns the error, or an empty text."""
    if not paths.python("batch").exists() or not (paths.home() / "mlflow").is_dir():
        return ""
    command = batch.command("upkeep", ["--aliases"])
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode else ""


def tidy(settings: Settings) -> list[str]:
    """Removes old versions, from disk with their index and from Redis, and returns their names.

    It also removes the lists of kept versions that are neither champion nor previous. A version that is newer than the
    champion keeps its lists, for it may be about to become champion.
    """
    client = settings.redis.client()
    client.ping()  # while Redis is away, keys of deleted files would stay in it
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
