"""Many small files of a day -> few, each day in one step of the lake; files that no snapshot needs are removed.

A day with more than FILES_MAX files of landings is rewritten. The rewrite drops repeats (it keeps the first of
repeated events and the last of repeated rewards), so what is read does not change. A reader at the same moment reads
the old files, which stay for KEPT_MS. A compaction that dies leaves files that nobody reads. Imported files stay as
they are: they hold whole months, and `import_file --again` replaces them as a whole.

Run: headrace run compact
"""

import argparse
import time
from collections import defaultdict

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.jobs.batch import night
from headrace.jobs.batch.lake.tables import (
    ARRIVAL,
    COLUMNS,
    KEYS,
    SNAPSHOTS,
    STAGING,
    File,
    Files,
    Lake,
    Overtaken,
    Snapshot,
    once,
    snapshot_name,
    with_files,
)
from headrace.jobs.batch.spark import session

FILES_MAX = 8
FILE_BYTES = 128 << 20
KEPT_MS = 48 * 3_600_000


def main(options: argparse.Namespace) -> None:
    lake = Lake(session("compact"))
    for table, day, files in crowded(lake.snapshot(), options.files):
        left = rewrite(lake, table, day, files)
        print(f"{table} of {day}: {len(files)} files, now {left}")
    print(f"removed {sweep(lake, time.time_ns() // 1_000_000 - KEPT_MS)} files that nothing needs")


def crowded(now: Snapshot, files_max: int) -> list[tuple[str, str, list[File]]]:
    """Returns (table, day, files) of each day with more than files_max files of landings."""
    by_day: dict[tuple[str, str], list[File]] = defaultdict(list)
    for table, files in now.files.items():
        for file in files:
            if not file.is_imported:
                by_day[table, file.day].append(file)
    return [(table, day, files) for (table, day), files in sorted(by_day.items()) if len(files) > files_max]


def rewrite(lake: Lake, table: str, day: str, files: list[File]) -> int:
    """Returns how many files took their place; as many as there were if another compaction was first."""
    rows = lake.rows(table, files)  # the table's columns, day
    parts = -(-sum(file.bytes for file in files) // FILE_BYTES)
    written = lake.write(_few(rows, table, parts).withColumn("table", F.lit(table)), "compact")
    try:
        lake.commit(lambda now: _replacing(now, table, files, written))
    except Overtaken:
        lake.discard(written)
        return len(files)
    return len(written.get(table, []))


def _few(rows: DataFrame, table: str, parts: int) -> DataFrame:
    """Sorts the rows, so that a user's rows are together and columns pack well."""
    key = KEYS.get(table, ())
    rows = once(rows, table) if key else rows
    return rows.repartition(parts, *key[:1]).sortWithinPartitions(*key[:1], *ARRIVAL)


def _replacing(now: Snapshot, table: str, files: list[File], written: Files) -> Snapshot:
    if not set(files) <= set(now.files.get(table, [])):
        raise Overtaken
    return with_files(now, written, files)


def sweep(lake: Lake, before_ms: int) -> int:
    """Removes the files that no snapshot which counted at before_ms or later lists, and returns how many.

    Younger files stay, since a landing may be about to list them. The files of a snapshot that counted at before_ms
    stay, since a reader may still read them.
    """
    needed = _needed(lake, before_ms)
    folders = (SNAPSHOTS, *COLUMNS, STAGING)  # a snapshot goes before its files
    files = [file for folder in folders for file in lake.store.files(folder)]
    gone = [file.path for file in files if file.path not in needed and file.changed_ms < before_ms]
    for path in gone:
        lake.store.delete(path)
    return len(gone)


def _needed(lake: Lake, before_ms: int) -> set[str]:
    """Returns the paths of the snapshots that counted at before_ms or later, and of the files they list."""
    paths: set[str] = set()
    snapshots = [lake.snapshot(number) for number in lake.numbers()]
    # A snapshot counts until the next one is made; the newest counts now.
    ends_ms = [after.made_ms for after in snapshots[1:]] + [before_ms] * bool(snapshots)
    for snapshot, end_ms in zip(snapshots, ends_ms, strict=True):
        if end_ms >= before_ms:
            paths.add(snapshot_name(snapshot.number))
            paths |= {file.path for files in snapshot.files.values() for file in files}
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES_MAX, help="a day with more files of landings is rewritten")
    night.run(main, parser)
