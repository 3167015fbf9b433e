"""Small lakes whose right answer is known: frames of rows, or records landed by the code that lands them."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from headrace.jobs.batch.lake import landed_rows
from headrace.jobs.batch.lake.tables import Lake, Snapshot, with_files

T0_MS, DAY_MS = 1_769_900_400_000, 86_400_000  # 2026-01-31T23:00Z
SCHEMA = """user_id STRING, event_id STRING, item_id STRING, action STRING, rating DOUBLE, t_ms BIGINT,
    offset BIGINT"""
FUTURE_MS = 300_000
RAW = "key BINARY, value BINARY, `partition` INT, `offset` BIGINT, append_ms BIGINT"


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns a frame of rows with user_id and item_id; the n-th is event e{n}, a view, n milliseconds after T0_MS.

    It arrived as the n-th, too.
    """
    defaults = {"action": "view", "rating": None}
    whole = [{"event_id": f"e{n}", "t_ms": T0_MS + n, "offset": n} | defaults | row for n, row in enumerate(rows)]
    return pd.DataFrame(whole, columns=[column.split()[0] for column in SCHEMA.split(",")])


def checkerboard(side: int) -> pd.DataFrame:
    """User u wants the items of their own parity but item u, which must therefore be first in their list."""
    cells = [(user, item) for user in range(side) for item in range(side) if user % 2 == item % 2 and user != item]
    return frame([{"user_id": f"u{user:03}", "item_id": f"i{item:03}"} for user, item in cells])


def append(spark: Any, table: str, records: Iterable[dict[str, Any] | bytes], lake: Lake | None = None) -> Snapshot:
    """Lands records of a table's schema in the lake of the settings; the broker has each at its own ts_ms."""
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
    """Puts HEADRACE_HOME, and so the lake of the settings, into a folder."""
    before = os.environ.get("HEADRACE_HOME")
    os.environ["HEADRACE_HOME"] = str(folder)
    try:
        yield folder
    finally:
        os.environ.pop("HEADRACE_HOME")
        if before is not None:
            os.environ["HEADRACE_HOME"] = before
