"""A lake for a test: records as they would have come through Kafka, landed by the code that lands them."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.jobs.batch.lake import landed_rows
from headrace.jobs.batch.lake.tables import Lake, Snapshot, with_files

FUTURE_MS = 300_000
RAW = "key BINARY, value BINARY, `partition` INT, `offset` BIGINT, append_ms BIGINT"


def append(spark: Any, table: str, records: Iterable[dict[str, Any] | bytes], lake: Lake | None = None) -> Snapshot:
    """Land records of a table's schema in the lake of the settings; the broker has each at its own ts_ms."""
    lake = lake or Lake(spark)
    raw = [
        (None, bytearray(record if isinstance(record, bytes) else json.dumps(record).encode()), 0, n, _ms(record))
        for n, record in enumerate(records)
    ]
    rows = spark.createDataFrame(raw, RAW).mapInArrow(landed_rows.judge(table, FUTURE_MS), landed_rows.columns(table))
    files = lake.write(rows.coalesce(1), "land")
    return lake.commit(lambda now: with_files(now, files))


def _ms(record: dict[str, Any] | bytes) -> int:
    return 0 if isinstance(record, bytes) else record["ts_ms"]


def click(n: int, user: str, item: str, ts_ms: int, action: str = "view", **more: Any) -> dict[str, Any]:
    return {"event_id": f"e{n}", "user_id": user, "item_id": item, "action": action, "ts_ms": ts_ms} | more


@contextmanager
def home(folder: Path) -> Iterator[Path]:
    """HEADRACE_HOME, and so the lake of the settings, in a folder."""
    before = os.environ.get("HEADRACE_HOME")
    os.environ["HEADRACE_HOME"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("HEADRACE_HOME")
        if before is not None:
            os.environ["HEADRACE_HOME"] = before
