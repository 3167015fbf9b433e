"""Published model versions on disk, and the pointer that says which of them serves.

    {home}/models/{version}/  all files of a trained model: infra/versions/model_files.py, and the family's own
                              left_out.json     item ids that no list may hold, by infra/config/rules.toml; no file if
                                                there are none
                              manifest.json     Manifest, with the sha256 of each file above
    {home}/models/current.json                  Pointer

A version is written beside its place, synced and renamed: it is there whole or not at all, and never changes. The
pointer is replaced the same way, so a reader sees the old version or the new one, and rollback is one step.

current.json alone says which version serves. MLflow's aliases `champion` and `previous` and Redis's `model:current`
follow it (infra/versions/publication.py) and do not own it. `headrace train`, `publish` and `rollback` and the stream
must work where the batch environment, 6 GB with MLflow in it, is not installed; and two owners would one day disagree.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from headrace.infra import durable, paths
from headrace.infra.errors import HeadraceError, Refusal
from headrace.infra.extensions import label
from headrace.infra.versions import model_files
from headrace.infra.versions.model_files import FACTORS, GRAM, ITEMS, MANIFEST, POPULAR

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LEFT_OUT, POINTER = "left_out.json", "current.json"
ALWAYS = (ITEMS, POPULAR)


class ModelError(HeadraceError):
    pass


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    kind: str  # the family, as night.models names it
    dims: dict[str, int]  # items, users, and others such as factors
    parameters: dict[str, Any]  # of the strengths and of the family
    lineage: dict[str, Any]  # what it was trained on: a file with its sha256, or topic offsets
    metrics: dict[str, float]
    created_ms: int
    commit: str  # of the code; empty outside a checkout
    sha256: dict[str, str]  # by file


class NightVersion(NamedTuple):
    date: str  # of the night, such as 2026-01-31
    version: str


class Pointer(msgspec.Struct, frozen=True):
    version: str
    previous: str | None
    published_ms: int
    newest: NightVersion | None = None  # of all versions that have served, that of the newest night


class Contents(NamedTuple):
    """What every version holds, beside its manifest and the family's own files."""

    items: list[str]
    popular: list[tuple[str, int]]  # item id, users; best first
    left_out: tuple[str, ...] = ()  # items that no list may hold


class Model(NamedTuple):
    manifest: Manifest
    contents: Contents
    folder: Path


def commit() -> str:
    """Returns the commit of the code; empty outside a checkout."""
    try:
        done = subprocess.run(["git", "-C", str(paths.PACKAGE), "rev-parse", "HEAD"], capture_output=True, text=True)
        return done.stdout.strip()
    except OSError:
        return ""


def root() -> Path:
    return paths.home() / "models"


def name(kind: str, created_ms: int, sha256: Mapping[str, str]) -> str:
    """Returns a name such as als-20260131T235959-1f0c2a9b: the time, and a digest of the files' hashes."""
    created = datetime.fromtimestamp(created_ms / 1000, UTC)
    digest = hashlib.sha256(msgspec.json.encode(sorted(sha256.items()))).hexdigest()
    return f"{label(kind)[:36]}-{created:%Y%m%dT%H%M%S}-{digest[:8]}"


def write(
    folder: Path, contents: Contents, created_ms: int, metrics: Mapping[str, float], version: str | None = None
) -> Manifest:
    """Makes a version of a trained model's folder and returns its manifest; it is there already if it was made before.

    contents: take the place of the model's own. version: the name; None: by the files and the time. Raises ModelError
    for a bad name, contents that do not fit, and a name that other files have.
    """
    root().mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root()))
    try:
        hashes, about = _write_files(draft, folder, contents), model_files.description(folder)
        version = name(about.kind, created_ms, hashes) if version is None else version
        if not NAME.fullmatch(version):
            raise ModelError(f"version must match {NAME.pattern}, got {version!r}")
        _fits(version, draft, contents)
        manifest = Manifest(
            version=version, kind=about.kind, dims=about.dims, parameters=about.parameters, lineage=about.lineage,
            metrics=dict(metrics), created_ms=created_ms, commit=about.lineage.get("commit", ""), sha256=hashes,
        )  # fmt: skip
        durable.write(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        with durable.locked(root()):
            if (root() / version).exists():
                return _same(manifest)
            draft.chmod(0o755)  # mkdtemp makes folders for their owner alone
            draft.rename(root() / version)
            durable.sync(root())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _write_files(draft: Path, folder: Path, contents: Contents) -> dict[str, str]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in (ITEMS, POPULAR, LEFT_OUT, MANIFEST):
            shutil.copyfile(path, draft / path.name)
            durable.sync(draft / path.name)
    durable.write(draft / ITEMS, msgspec.json.encode(contents.items))
    durable.write(draft / POPULAR, msgspec.json.encode(contents.popular))
    if contents.left_out:
        durable.write(draft / LEFT_OUT, msgspec.json.encode(contents.left_out))
    return durable.hashes(draft)


def _same(made: Manifest) -> Manifest:
    """Returns the manifest of a version that was made before. Raises ModelError if it is of other files."""
    there = manifest(made.version)
    if there.sha256 != made.sha256:
        raise ModelError(f"version {made.version} exists already, and a version never changes")
    return there


def versions() -> list[Manifest]:
    """Returns the manifests of all versions, oldest first."""
    names = [path.parent.name for path in root().glob(f"*/{MANIFEST}") if NAME.fullmatch(path.parent.name)]
    return sorted(map(manifest, names), key=lambda each: (each.created_ms, each.version))


def manifest(version: str) -> Manifest:
    """Returns the manifest of a version. Raises ModelError if there is no such version."""
    path = root() / version / MANIFEST
    if not NAME.fullmatch(version) or not path.is_file():
        raise ModelError(f"no version {version!r} in {root()}; `headrace models` lists them")
    described = _read(path, Manifest)
    if described.version != version:
        raise ModelError(f"{path} must be the manifest of {version}, got that of {described.version}")
    return described


def items(version: str) -> list[str]:
    """Returns the items of a version. Raises ModelError or OSError if its file does not load."""
    return _read(root() / version / ITEMS, list[str])


def load(version: str) -> Model:
    """Loads a version; the family's files stay on disk. Raises ModelError if any file has changed."""
    described = manifest(version)
    folder = root() / version
    for name in sorted({*ALWAYS, *described.sha256}):
        expected = described.sha256.get(name)
        got = durable.sha256(folder / name) if (folder / name).is_file() else "no such file"
        if got != expected:
            raise ModelError(f"{folder / name}: sha256 must be {expected}, got {got}")
    contents = Contents(
        _read(folder / ITEMS, list[str]),
        _read(folder / POPULAR, list[tuple[str, int]]),
        _read(folder / LEFT_OUT, tuple[str, ...]) if LEFT_OUT in described.sha256 else (),
    )
    _fits(version, folder, contents)
    return Model(described, contents, folder)


def _fits(version: str, folder: Path, contents: Contents) -> None:
    """Raises ModelError if items are named twice, or if factors do not fit them. A family checks its other files."""
    if len(set(contents.items)) != len(contents.items):
        raise ModelError(f"{version}: {ITEMS} must name each item once")
    if not (folder / FACTORS).is_file():
        return
    factors = np.load(folder / FACTORS, mmap_mode="r")
    if factors.dtype != np.float32 or factors.ndim != 2 or not np.isfinite(factors).all():
        raise ModelError(f"{version}: {FACTORS} must be finite float32 (items, f), got {factors.dtype} {factors.shape}")
    if len(factors) != len(contents.items):
        rows = f"a row for each of the {len(contents.items)} items of {ITEMS}"
        raise ModelError(f"{version}: {FACTORS} must have {rows}, got {len(factors)}")
    wanted = (factors.shape[1], factors.shape[1])
    if (folder / GRAM).is_file() and (got := np.load(folder / GRAM).shape) != wanted:
        raise ModelError(f"{version}: {GRAM} must be {wanted}, got {got}")


def current() -> Pointer | None:
    """Returns the pointer to the version that serves; None before the first publication."""
    path = root() / POINTER
    return _read(path, Pointer) if path.is_file() else None


def publish(version: str, published_ms: int) -> Pointer:
    """Makes `version` the one that serves, whatever serves now: a person asks for it.

    Raises ModelError, and changes nothing, if it does not load.
    """
    load(version)
    with durable.locked(root()):
        now = current()
        if now and now.version == version:
            return now
        night, newest = _of_night(version), _newest(now)
        of_same = night and newest and night.date == newest.date  # the night that made both does not move it again
        return _point(now, version, published_ms, None if of_same else night)


def publish_night(version: str, night: date, published_ms: int, again: bool = False) -> Pointer:
    """Makes `version` the one that serves for the night that made it, once, and returns the pointer.

    If it has served already the pointer stays, for a person may have moved it since; again: it moves all the same.
    Raises Refusal if a version of a newer night has served, and ModelError if it does not load.
    """
    load(version)
    ours = NightVersion(night.isoformat(), version)
    with durable.locked(root()):
        now = current()
        newest = _newest(now)
        if newest and newest.date > ours.date:
            older = f"{newest.version} of the night {newest.date} has served, and an older night does not follow it"
            raise Refusal(f"{version} of the night {night}: {older}; `headrace publish {version}` if it is to serve")
        if now and (now.version == version or (newest == ours and not again)):
            return now
        return _point(now, version, published_ms, ours)


def _newest(pointer: Pointer | None) -> NightVersion | None:
    """Returns the newest night of which a version has served. A pointer of 0.2.0 does not say it."""
    if pointer is None:
        return None
    if pointer.newest:
        return pointer.newest
    served = [_of_night(version) for version in (pointer.version, pointer.previous) if version]
    return max((each for each in served if each), default=None)


def _of_night(version: str) -> NightVersion | None:
    """Returns the night that made a version; None if none did, or if its files do not say so any more."""
    try:
        night = manifest(version).lineage.get("date")
    except ModelError:
        return None
    return NightVersion(night, version) if isinstance(night, str) else None


def prune(keep: int) -> list[str]:
    """Removes all but the newest `keep`, the one that serves and the one before it. Returns the removed ones."""
    with durable.locked(root()):
        now = current()
        served = {now.version, now.previous} if now else set()
        gone = [each.version for each in versions()[:-keep] if each.version not in served]
        for version in gone:
            shutil.rmtree(root() / version)
    return gone


def rollback(published_ms: int) -> Pointer:
    """Makes the version before this one serve again; a second rollback undoes the first.

    Raises ModelError if there was none before, or if it does not load.
    """
    with durable.locked(root()):
        now = current()
        if not now or not now.previous:
            raise ModelError("no version was published before the current one, so there is nothing to roll back to")
        load(now.previous)
        return _point(now, now.previous, published_ms, None)


def _point(now: Pointer | None, version: str, published_ms: int, night: NightVersion | None) -> Pointer:
    """Moves the pointer. night: the one that made the version, which is the newest if it is no older than those."""
    newest = max((each for each in (night, _newest(now)) if each), key=lambda each: each.date, default=None)
    pointer = Pointer(version, now.version if now else None, published_ms, newest)
    durable.write(root() / POINTER, msgspec.json.encode(pointer))
    return pointer


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ModelError(f"{path}: {error}") from None


def pointer_stamp() -> tuple[int, int] | None:
    """Returns inode and time of the pointer's file: others after each move. None until a version is published."""
    try:
        status = os.stat(root() / POINTER)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


class VersionFollower:
    """The version that serves, for a long-running program. `model()` costs one stat unless the pointer moved.

    Each move replaces the file, so its inode or time differs.
    """

    def __init__(self) -> None:
        self.held: Model | None = None
        self._seen: tuple[int, int] | None = None

    def model(self) -> Model | None:
        """Returns the version; None until one is published. If it does not load: raises ModelError, keeps `held`."""
        seen = pointer_stamp()
        if seen and seen != self._seen:
            pointer = current()
            if pointer and (self.held is None or pointer.version != self.held.manifest.version):
                self.held = load(pointer.version)
            self._seen = seen
        return self.held
