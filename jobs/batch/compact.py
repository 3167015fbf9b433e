"""Many small files of a day -> few, each day in one step of the lake; what no snapshot needs any more is removed.

Rewritten are the days that more than FILES_MAX landings' files hold; what they hold more than once goes (of repeats the
first stays, of rewards the last), so what is read does not change. A reader at the same moment reads the old files,
which stay for KEPT_MS; a compaction that dies leaves files that nobody reads. Imported files stay as they are: whole
months at a time, and replaced as a whole by `import_file --again`.

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
    Snapshot,
    once,
    snapshot_name,
    with_files,
)
from headrace.jobs.batch.spark import session

FILES_MAX = 8
FILE_BYTES = 128 << 20
KEPT_MS = 48 * 3_600_000


class Overtaken(Exception):
    """Another compaction rewrote these files first."""


def main(options: argparse.Namespace) -> None:
    lake = Lake(session("compact"))
    for table, day, files in crowded(lake.snapshot(), options.files):
        made = rewrite(lake, table, day, files)
        print(f"{table} of {day}: {len(files)} files, now {made}")
    print(f"{sweep(lake, time.time_ns() // 1_000_000 - KEPT_MS)} files that nothing needs are gone")


def crowded(now: Snapshot, files_max: int) -> list[tuple[str, str, list[File]]]:
    """(table, day, files) of each day that more than files_max files of landings hold."""
    found: dict[tuple[str, str], list[File]] = defaultdict(list)
    for table, files in now.files.items():
        for file in files:
            if not file.is_imported:
                found[table, file.day].append(file)
    return [(table, day, files) for (table, day), files in sorted(found.items()) if len(files) > files_max]


def rewrite(lake: Lake, table: str, day: str, files: list[File]) -> int:
    """How many files took their place; as many as there were if another compaction was first."""
    rows = lake.rows(table, files)
    parts = -(-sum(file.bytes for file in files) // FILE_BYTES)
    made = lake.write(_few(rows, table, parts).withColumn("table", F.lit(table)), "compact")
    try:
        lake.commit(lambda now: _replacing(now, table, files, made))
    except Overtaken:
        lake.discard(made)
        return len(files)
    return len(made.get(table, []))


def _few(rows: DataFrame, table: str, parts: int) -> DataFrame:
    """Sorted, so that a user's rows lie together and columns pack well."""
    key = KEYS.get(table, ())
    rows = once(rows, table) if key else rows
    return rows.repartition(parts, *key[:1]).sortWithinPartitions(*key[:1], *ARRIVAL)


def _replacing(now: Snapshot, table: str, files: list[File], made: Files) -> Snapshot:
    if not set(files) <= set(now.files.get(table, [])):
        raise Overtaken
    return with_files(now, made, files)


def sweep(lake: Lake, before_ms: int) -> int:
    """Remove the files that no snapshot lists which served at before_ms or later; how many.

    Younger files stay: a landing may be about to list them. So does what served then: a reader may be at it.
    """
    snapshots = [lake.snapshot(number) for number in lake.numbers()]
    ends_ms = [after.made_ms for after in snapshots[1:]] + [before_ms] * bool(snapshots)
    kept = [snapshot for snapshot, end_ms in zip(snapshots, ends_ms, strict=True) if end_ms >= before_ms]
    needed = {file.path for snapshot in kept for files in snapshot.files.values() for file in files}
    needed |= {snapshot_name(snapshot.number) for snapshot in kept}
    gone = [
        found.path
        for folder in (SNAPSHOTS, *COLUMNS, STAGING)  # a snapshot goes before its files
        for found in lake.store.files(folder)
        if found.path not in needed and found.changed_ms < before_ms
    ]
    for path in gone:
        lake.store.delete(path)
    return len(gone)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES_MAX, help="of a day, above which it is rewritten")
    night.run(main, parser)
