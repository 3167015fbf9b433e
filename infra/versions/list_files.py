"""The lists of a version as Redis has them, kept on disk: a restore sends them again, and upkeep unlinks their keys.

    {home}/lists/{version}/00000.resp ...   recs of the users of each part, as Redis commands (SET)
                           similar-....resp similar items of a part of the items
                           popular.resp     popular and trending, by category and by place
                           manifest.json    ListManifest; there once all files are whole

`redis-cli --pipe` takes these files. They are beside the version and not in it: a version never changes, while its
lists are removed when it is neither champion nor previous.
"""

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Redis
from headrace.infra.versions.rules import ItemRules
from headrace.schemas import lists
from headrace.udfs import resp

MANIFEST, SUFFIX = "manifest.json", ".resp"
PART = 500  # keys of a round trip
PAUSE_S, PAUSE_MAX_S = 0.02, 1.0
TRIES = 12  # about five seconds: a person or a scheduler waits, and a rerun goes on from here


class ListManifest(msgspec.Struct, frozen=True):
    version: str
    keys: dict[str, int]  # by file


def folder(version: str) -> Path:
    return paths.home() / "lists" / version


def versions() -> list[str]:
    return sorted(path.name for path in folder("").glob("*") if path.is_dir())


def write(place: Path, name: str, keys: Iterable[str], values: Iterable[bytes]) -> None:
    """Writes a file of a version's folder, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
    durable.write(place / f"{name}{SUFFIX}", b"".join(resp.lasting(keys, values)))


def files(version: str) -> list[Path]:
    return files_in(folder(version))


def files_in(place: Path) -> list[Path]:
    return sorted(place.glob(f"[!.]*{SUFFIX}"))


def finish(version: str) -> ListManifest:
    """Writes the manifest, once every file is there: from now on the lists are whole."""
    whole = ListManifest(version, {path.name: sum(1 for _ in entries(path)) for path in files(version)})
    durable.write(folder(version) / MANIFEST, msgspec.json.encode(whole))
    return whole


def manifest(version: str) -> ListManifest | None:
    """Returns the manifest; None if the version has no lists, or none that are whole."""
    path = folder(version) / MANIFEST
    return msgspec.json.decode(path.read_bytes(), type=ListManifest) if path.is_file() else None


def entries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields (key, value) of each command. Raises HeadraceError if the file ends within one."""
    with path.open("rb") as file:
        while file.readline():
            _, key, value = (_bulk(file, path) for _ in range(3))
            yield key.decode(), value


def _bulk(file: BinaryIO, path: Path) -> bytes:
    size = file.readline()
    data = file.read(int(size[1:] or 0) + 2)
    if not size.startswith(b"$") or not data.endswith(b"\r\n"):
        raise HeadraceError(f"{path} must hold whole Redis commands, but ends within one: precompute it with --again")
    return data[:-2]


def load(redis: Redis, version: str, rules: ItemRules) -> int:
    """Sends all lists to Redis, without what the rules leave out by now, and returns the number of keys.

    It is 0 if the version has no lists.
    """
    whole = manifest(version)
    if whole is None:
        return 0
    client = _client(redis)
    for path in files(version):
        _write(client, ((key, allowed(value, rules)) for key, value in entries(path)))
    return sum(whole.keys.values())


def _client(redis: Redis) -> Any:
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    return redis.client(retry=Retry(ExponentialBackoff(PAUSE_MAX_S, PAUSE_S), TRIES))


def _write(client: Any, values: Iterable[tuple[str, bytes | None]]) -> None:
    """Sets each key, or unlinks it where the value is None."""
    values = iter(values)
    while part := list(islice(values, PART)):
        pipeline = client.pipeline(transaction=False)
        for key, value in part:
            pipeline.unlink(key) if value is None else pipeline.set(key, value)
        pipeline.execute()


def allowed(value: bytes, rules: ItemRules) -> bytes | None:
    """Returns the list without what the rules leave out; None if nothing is left."""
    return value if rules == ItemRules() else lists.without(value, rules.forbids)


def remove(redis: Redis, version: str) -> int:
    """Unlinks all lists from Redis, then deletes the files. Returns the number of keys. A rerun completes it."""
    if not folder(version).is_dir():
        return 0
    client, gone = _client(redis), 0
    (folder(version) / MANIFEST).unlink(missing_ok=True)  # no longer whole
    for path in files(version):
        keys = [key for key, _ in entries(path)]
        _write(client, ((key, None) for key in keys))
        gone += len(keys)
        path.unlink()
    shutil.rmtree(folder(version))
    return gone
