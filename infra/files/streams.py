"""Where a file is, and its bytes: paths, folders and globs; gzip, bzip2, xz, zstd and zip by their first bytes."""

import bz2
import errno
import glob
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from headrace.infra.errors import HeadraceError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".inter", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
GZIP, BZIP2, XZ, ZSTD, ZIP = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
WORKBOOK = "xl/workbook.xml"
BUFFER = 1 << 20
BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)  # gzip's own error is an OSError


def files(place: str | Path) -> list[Path]:
    """Returns the files at a path, in a folder or under a glob, in the order of their names.

    Raises HeadraceError if there is none. A folder gives those with an ending of ours, at any depth.
    """
    path = Path(place)
    if path.is_dir():
        inside = [each for each in sorted(path.rglob("*")) if each.is_file() and not _hidden(each.relative_to(path))]
        found = [each for each in inside if ending(each) in ENDINGS and each.stat().st_size]
        if not found:
            seen = f"{len(inside)} other files" if inside else "nothing"
            raise HeadraceError(f"{path} must hold files that end in {', '.join(ENDINGS)}, found {seen}")
        return found
    if path.is_file():
        return [path]
    found = [Path(each) for each in sorted(glob.glob(str(place), recursive=True)) if Path(each).is_file()]
    if not found:
        raise HeadraceError(f"{place} must be a file, a folder or a glob of files, found none")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def ending(path: Path) -> str:
    """Returns the ending of what is inside: `.csv` of visits.csv.gz."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower()


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Opens a file: its bytes unpacked, and the file as it lies on the disk, whose `tell` is how far it is read.

    Raises HeadraceError if it cannot be read or unpacked, when that is met.
    """
    try:
        with path.open("rb") as raw:
            yield unpacked(path, raw), raw
    except BROKEN as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):  # of what the caller writes
            raise
        raise HeadraceError(f"{path} cannot be read: {error or type(error).__name__}") from None


def unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    first = raw.read(8)
    raw.seek(0)
    if first.startswith(GZIP):
        return io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=raw)), BUFFER)
    if first.startswith(BZIP2):
        return io.BufferedReader(cast(Any, bz2.BZ2File(raw)), BUFFER)
    if first.startswith(XZ):
        return io.BufferedReader(cast(Any, lzma.LZMAFile(raw)), BUFFER)
    if first.startswith(ZSTD):
        import pyarrow as pa

        return io.BufferedReader(cast(Any, pa.CompressedInputStream(raw, "zstd")), BUFFER)
    if first.startswith(ZIP):
        return _member(path, raw)
    return raw


def _member(path: Path, raw: IO[bytes]) -> IO[bytes]:
    """Returns the one file in a zip; a workbook is a zip too, and stays one."""
    archive = zipfile.ZipFile(raw)
    names = [each for each in archive.namelist() if not each.endswith("/") and not _hidden(Path(each))]
    if WORKBOOK in names:
        raw.seek(0)
        return raw
    if len(names) != 1:
        rule = f"{path} must hold one file, found {len(names)}: {', '.join(names[:5])}"
        raise HeadraceError(f"{rule}; unzip it, and name the file or the folder")
    try:
        return io.BufferedReader(cast(Any, archive.open(names[0])), BUFFER)
    except (RuntimeError, NotImplementedError) as error:  # a password, or a packing that Python does not have
        raise HeadraceError(f"{path} cannot be unpacked: {error}; unzip it, and name the file") from None
