"""The lake: every record that landed, as Parquet by event day, and the snapshots that say which files count.

    {lake}/clicks/day=2026-01-31/land-7-....parquet   also impressions, rewards
    {lake}/dead_letters/day=2026-01-31/...            refused records, by the day of their arrival
    {lake}/_snapshots/0000000007.json                 Snapshot: all files of all tables, the Kafka offsets they cover

A change of the lake is one new snapshot. Its files are written first; they count from the moment the snapshot has its
number, in one step with the offsets they cover. So a landing that dies leaves files that nobody reads, and a reader
sees the lake before a change or after it. When two changes are made at once, the second finds its number taken, looks
again, and adds to the first.

`clicks`, `impressions` and `rewards` read the lake: each event once (docs/night.md).
"""

import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import chain

import msgspec
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.jobs.batch.lake.hadoop_files import Store
from headrace.jobs.batch.night import Night
from headrace.schemas import topics
from headrace.schemas.types import ddl

SNAPSHOTS, STAGING = "_snapshots", "_staging"
IMPORTED = "import-"  # begins the names of files that import_file wrote
WRITING = {"compression": "zstd", "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}
PLACE = "append_ms BIGINT, `partition` INT, `offset` BIGINT"
RECORDS = {topics.CLICKS: "click", topics.IMPRESSIONS: "impression", topics.REWARDS: "reward"}  # schema by table
# The contract checks NOT NULL; Spark would take it as given.
COLUMNS = {table: f"{ddl(name)}, t_ms BIGINT, {PLACE}".replace(" NOT NULL", "") for table, name in RECORDS.items()}
COLUMNS |= {topics.DEAD_LETTERS: f"topic STRING, {PLACE}, reason STRING, detail STRING, key BINARY, value BINARY"}
SLOT = ("user_id", "impression_id", "item_id")
KEYS = {topics.CLICKS: ("user_id", "event_id"), topics.IMPRESSIONS: SLOT, topics.REWARDS: SLOT}
ARRIVAL = ("append_ms", "partition", "offset")


class Overtaken(Exception):
    """Another commit came first, and changed what this one was to change."""


class File(msgspec.Struct, frozen=True):
    path: str  # below the lake
    bytes: int

    @property
    def day(self) -> str:
        return self.path.partition("/day=")[2].partition("/")[0]

    @property
    def is_imported(self) -> bool:
        return self.path.rpartition("/")[2].startswith(IMPORTED)


class Import(msgspec.Struct, frozen=True):
    path: str
    options: str  # the column mapping and defaults it was read with
    rows: int
    refused: dict[str, int]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    number: int = 0
    made_ms: int = 0
    files: dict[str, list[File]] = {}  # by table; msgspec copies it
    offsets: dict[str, dict[str, tuple[int, int]]] = {}  # by topic and partition: [from, to)
    topic_ids: dict[str, str] = {}  # by topic: Kafka's id; none, or empty, where it was not known
    imports: dict[str, Import] = {}  # by sha256 of the file


Files = dict[str, list[File]]  # by table
Change = Callable[[Snapshot], Snapshot]


class Lake:
    """The lake below a root, which is a folder or URI; by default that of the settings."""

    def __init__(self, spark: SparkSession, root: str | None = None) -> None:
        self.spark = spark
        self.root = root or load().night.lake or str(paths.home() / "lake")

    @cached_property
    def store(self) -> Store:
        return Store(self.spark, self.root)

    def numbers(self) -> list[int]:
        """Returns the numbers of the snapshots, oldest first."""
        stems = (name.partition(".") for name in self.store.names(SNAPSHOTS))
        return sorted(int(stem) for stem, _, ending in stems if ending == "json" and stem.isdigit())

    def snapshot(self, number: int | None = None) -> Snapshot:
        """Returns the snapshot of a number, or the newest one. Raises HeadraceError if it cannot be read."""
        numbers = self.numbers()
        if number is None:
            return self._read(numbers[-1]) if numbers else Snapshot()
        return self._read(number)

    def _read(self, number: int) -> Snapshot:
        path = snapshot_name(number)
        try:
            return msgspec.json.decode(self.store.read(path), type=Snapshot)
        except msgspec.DecodeError as error:
            raise HeadraceError(f"{self.store.uri(path)}: {error}") from None

    def commit(self, change: Change) -> Snapshot:
        """Commits a change and returns the new snapshot. `change` is called again if another change came first."""
        while True:
            now = self.snapshot()
            after = msgspec.structs.replace(change(now), number=now.number + 1, made_ms=time.time_ns() // 1_000_000)
            if self.store.put(snapshot_name(after.number), msgspec.json.format(msgspec.json.encode(after), indent=1)):
                return after

    def write(self, rows: DataFrame, label: str) -> Files:
        """Writes rows with the columns table and day, and returns the files by table.

        The files count once a snapshot lists them.
        """
        token = uuid.uuid4().hex[:12]
        staging = f"{STAGING}/{token}"
        writer = rows.write.partitionBy("table", "day").options(**WRITING)
        written: Files = {}
        try:
            writer.parquet(self.store.uri(staging))
            parts = [part for part in self.store.files(staging) if part.path.endswith(".parquet")]
            for n, part in enumerate(parts):
                _, _, table, day, _ = part.path.split("/")
                table = table.removeprefix("table=")
                file = File(f"{table}/{day}/{label}-{token}-{n}.parquet", part.bytes)
                self.store.move(part.path, file.path)
                written.setdefault(table, []).append(file)
        finally:
            self.store.delete(staging)
        return written

    def discard(self, files: Files) -> None:
        """Deletes files that no snapshot lists."""
        for file in chain.from_iterable(files.values()):
            self.store.delete(file.path)

    def rows(self, table: str, files: Iterable[File]) -> DataFrame:
        """Returns the rows of these files as they were written, with their day."""
        columns = f"{COLUMNS[table]}, day DATE"
        uris = [self.store.uri(file.path) for file in files]
        if not uris:
            return self.spark.createDataFrame([], columns)
        return self.spark.read.schema(columns).option("basePath", self.store.uri(table)).parquet(*uris)

    def as_written(self, files: Iterable[File]) -> DataFrame:
        """Returns the rows of these files with the columns that the files themselves have."""
        return self.spark.read.option("mergeSchema", "true").parquet(*(self.store.uri(file.path) for file in files))

    def read(self, table: str, until: date | None = None, snapshot: Snapshot | None = None) -> DataFrame:
        """Returns each record of the days up to and including `until` once. snapshot: the newest by default."""
        files = (snapshot or self.snapshot()).files.get(table, [])
        last = until.isoformat() if until else "9999-12-31"
        rows = self.rows(table, [file for file in files if file.day <= last])
        return once(rows, table) if table in KEYS else rows

    def landed(self, until: date) -> Snapshot:
        """Returns the snapshot that the night's landing left, so that all its steps see the same; else the newest."""
        path = Night(until).folder / "land" / "landed.json"
        if path.is_file():
            number = msgspec.json.decode(path.read_bytes(), type=dict)["snapshot"]
            if number in self.numbers():
                return self._read(number)
        return self.snapshot()


def with_files(now: Snapshot, new: Files, gone: Iterable[File] = ()) -> Snapshot:
    """Returns the snapshot with new files and without those that are gone."""
    left = set(gone)
    tables = now.files.keys() | new.keys()
    files = {table: [f for f in now.files.get(table, []) if f not in left] + new.get(table, []) for table in tables}
    return msgspec.structs.replace(now, files=files)


def snapshot_name(number: int) -> str:
    return f"{SNAPSHOTS}/{number:010}.json"


def once(rows: DataFrame, table: str) -> DataFrame:
    """Returns one row per key of the table: the first to arrive; of rewards, the last.

    It shuffles by user. The next step by user needs that anyway and does not repeat it.
    """
    order = [F.col(name).desc() if table == topics.REWARDS else F.col(name) for name in ARRIVAL]
    copy = F.row_number().over(Window.partitionBy(*KEYS[table]).orderBy(*order))
    return rows.repartition("user_id").withColumn("_copy", copy).where("_copy = 1").drop("_copy")


def clicks(spark: SparkSession, until: date) -> DataFrame:
    """Returns one row per event of the days up to and including `until`. Training and evaluation rely on that."""
    return _of_night(spark, topics.CLICKS, until)


def impressions(spark: SparkSession, until: date) -> DataFrame:
    """Returns one row per impression of the days up to and including `until`."""
    return _of_night(spark, topics.IMPRESSIONS, until)


def rewards(spark: SparkSession, until: date) -> DataFrame:
    """Returns the last landed reward of each impression."""
    return _of_night(spark, topics.REWARDS, until)


def _of_night(spark: SparkSession, table: str, until: date) -> DataFrame:
    lake = Lake(spark)
    return lake.read(table, until, lake.landed(until))


def day_of(ms: int) -> date:
    return datetime.fromtimestamp(ms / 1000, UTC).date()
