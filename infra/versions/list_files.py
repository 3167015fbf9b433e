"""The lists of a version as they stand in Redis, kept on disk: what a restore sends again and upkeep unlinks.

    {home}/lists/{version}/00000.resp ...   recs of the users of each part, as Redis commands (SET)
                           similar.resp     of items
                           popular.resp     popular and trending, by category and by place
                           manifest.json    ListManifest; there once all of them are whole

The files are what `redis-cli --pipe` takes. They lie beside the version and not in it: a version never changes, while
its lists leave when it is neither champion nor previous.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from headrace.infra import durable, paths
from headrace.infra.clients.redis_writer import RedisWriter
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Redis
from headrace.udfs import resp

MANIFEST, SUFFIX = "manifest.json", ".resp"
TRIES = 12  # about five seconds: whoever waits is a person or a scheduler, and a rerun goes on from here


class ListManifest(msgspec.Struct, frozen=True):
    version: str
    keys: dict[str, int]  # by file


def folder(version: str) -> Path:
    return paths.home() / "lists" / version


def versions() -> list[str]:
    return sorted(path.name for path in folder("").glob("*") if path.is_dir())


def write(place: Path, name: str, keys: Iterable[str], values: Iterable[bytes]) -> None:
    """A file of the folder of a version, whole or not at all."""
    place.mkdir(parents=True, exist_ok=True)
    durable.write(place / f"{name}{SUFFIX}", b"".join(resp.lasting(keys, values)))


def files(version: str) -> list[Path]:
    return files_in(folder(version))


def files_in(place: Path) -> list[Path]:
    return sorted(place.glob(f"[!.]*{SUFFIX}"))


def finish(version: str) -> ListManifest:
    """Every file is there; from now on the lists are whole."""
    made = ListManifest(version, {path.name: sum(1 for _ in commands(path)) for path in files(version)})
    durable.write(folder(version) / MANIFEST, msgspec.json.encode(made))
    return made


def manifest(version: str) -> ListManifest | None:
    """None if the version has no lists, or none that are whole."""
    path = folder(version) / MANIFEST
    return msgspec.json.decode(path.read_bytes(), type=ListManifest) if path.is_file() else None


def commands(path: Path) -> Iterator[tuple[str, bytes]]:
    """(key, the whole command) of each."""
    with path.open("rb") as file:
        while head := file.readline():
            parts = [head, *(part for _ in range(3) for part in _bulk(file, path))]
            yield parts[4][:-2].decode(), b"".join(parts)


def _bulk(file: BinaryIO, path: Path) -> tuple[bytes, bytes]:
    size = file.readline()
    data = file.read(int(size[1:] or 0) + 2)
    if not size.startswith(b"$") or not data.endswith(b"\r\n"):
        raise HeadraceError(f"{path}: must hold whole Redis commands, ends within one: precompute it with --again")
    return size, data


def load(redis: Redis, version: str) -> int:
    """Send all to Redis; the number of keys. 0 if the version has no lists."""
    made = manifest(version)
    if made is None:
        return 0
    writer = RedisWriter(redis, TRIES)
    for path in files(version):
        writer.write((command for _, command in commands(path)), replies=1)
    return sum(made.keys.values())


def remove(redis: Redis, version: str) -> int:
    """Unlink all from Redis, then delete the files; the number of keys. What a crash leaves is found again."""
    if not folder(version).is_dir():
        return 0
    writer, gone = RedisWriter(redis, TRIES), 0
    (folder(version) / MANIFEST).unlink(missing_ok=True)  # no longer whole
    for path in files(version):
        keys = [key for key, _ in commands(path)]
        writer.write(resp.strings(keys, [None] * len(keys), [0] * len(keys)), replies=1)
        gone += len(keys)
        path.unlink()
    shutil.rmtree(folder(version))
    return gone
