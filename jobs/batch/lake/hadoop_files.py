"""Files below one root, wherever Spark can write: a local folder, hdfs://, s3a://, by Hadoop's file systems.

The lake's commits rely on `put`: it gives a name once, to whole content. A local folder is locked for that; HDFS
renames so by itself. An object store does not: there, let only one job write at a time (readers need no care).
"""

import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from pyspark.sql import SparkSession

from headrace.infra import durable
from headrace.infra.errors import HeadraceError


class Found(NamedTuple):
    path: str  # below the root
    bytes: int
    changed_ms: int


@contextmanager
def here(spark: SparkSession, place: str) -> Iterator[str]:
    """Yields a path on this machine: the place itself, or a copy of what a URI names."""
    if not re.match(r"[a-z][a-z0-9+.-]*:", place):
        yield place
        return
    jvm: Any = spark._jvm
    with tempfile.TemporaryDirectory() as folder:
        there = jvm.org.apache.hadoop.fs.Path(place)
        files = there.getFileSystem(spark._jsc.hadoopConfiguration())
        files.copyToLocalFile(False, there, jvm.org.apache.hadoop.fs.Path(folder), True)
        yield f"{folder}/{there.getName()}"


class Store:
    def __init__(self, spark: SparkSession, root: str) -> None:
        self._jvm: Any = spark._jvm
        self.root = root.rstrip("/")
        try:
            place = self._jvm.org.apache.hadoop.fs.Path(self.root)
            self._fs = place.getFileSystem(spark._jsc.hadoopConfiguration())
        except Exception as error:
            raise HeadraceError(f"night.lake must be a folder or a URI that Spark knows, got {root!r}") from error
        self._base = str(self._fs.makeQualified(place).toUri())
        self._folder = Path(place.toUri().getPath()) if self._fs.getScheme() == "file" else None

    def uri(self, path: str) -> str:
        return f"{self.root}/{path}"

    def exists(self, path: str) -> bool:
        return bool(self._fs.exists(self._path(path)))

    def read(self, path: str) -> bytes:
        stream = self._fs.open(self._path(path))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    def put(self, path: str, content: bytes) -> bool:
        """Writes a new file; returns False if there is one already. A reader sees all of it or none."""
        draft = f"{path}.{uuid.uuid4().hex}"
        stream = self._fs.create(self._path(draft), False)
        stream.write(bytearray(content))
        stream.close()
        self.sync(draft)
        with self._turn():
            new = not self.exists(path) and self._rename(draft, path)
        if new:
            self.sync(path)
        else:
            self.delete(draft)
        return new

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files directly in a folder; none if there is no folder."""
        if not self.exists(folder):
            return []
        return [status.getPath().getName() for status in self._fs.listStatus(self._path(folder))]

    def files(self, folder: str) -> Iterator[Found]:
        """Yields all files below a folder, at any depth."""
        if not self.exists(folder):
            return
        statuses = self._fs.listFiles(self._path(folder), True)
        while statuses.hasNext():
            status = statuses.next()
            path = str(status.getPath().toUri()).removeprefix(self._base).lstrip("/")
            yield Found(path, status.getLen(), status.getModificationTime())

    def move(self, path: str, to: str) -> None:
        self._fs.mkdirs(self._path(to).getParent())
        if not self._rename(path, to):
            raise HeadraceError(f"{self.uri(path)} could not be renamed to {self.uri(to)}")
        self.sync(to)

    def take(self, local: Path, to: str) -> None:
        """Copies a file of this machine."""
        self._fs.copyFromLocalFile(False, True, self._jvm.org.apache.hadoop.fs.Path(str(local)), self._path(to))

    def delete(self, path: str) -> None:
        self._fs.delete(self._path(path), True)

    def sync(self, path: str) -> None:
        """Makes a rename in a local folder survive a power cut; other stores do so themselves."""
        if self._folder:
            durable.sync(self._folder / path)
            durable.sync((self._folder / path).parent)

    def _rename(self, path: str, to: str) -> bool:
        try:
            return bool(self._fs.rename(self._path(path), self._path(to)))
        except Exception as error:
            if re.search("FileAlreadyExistsException", str(error)):
                return False
            raise

    def _turn(self) -> AbstractContextManager[None]:
        return durable.locked(self._folder) if self._folder else nullcontext()

    def _path(self, path: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.root}/{path}" if path else self.root)
