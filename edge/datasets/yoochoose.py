"""YooChoose (RecSys Challenge 2015): clicks of anonymous sessions in arrival order, with their day (CC BY-NC-ND 4.0).

The file `sess,item,period` has no clock times, so the loader makes them up: it spreads the clicks of a day evenly over
its 24 hours (UTC) in their order, and period 0 is 1 April 2014. The file names no users, so each session is a user.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.edge.datasets.columns import SLICE_ROWS, Click, Clicks, DatasetError, require

COLUMNS = ("sess", "item", "period")
FIRST_DAY_MS = 1_396_310_400_000  # 2014-04-01
DAY_MS = 86_400_000
MADE_UP = "times within each day, and the date of day 0 (2014-04-01)"


class Days:
    """The made-up time of each row, from the number of clicks of each day."""

    def __init__(self, counts: dict[int, int]) -> None:
        self._periods = list(counts)
        self._counts = list(counts.values())
        self._starts = [0, *accumulate(self._counts)]

    def ms_at(self, row: int) -> int:
        day = bisect_right(self._starts, row) - 1
        return FIRST_DAY_MS + DAY_MS * self._periods[day] + DAY_MS * (row - self._starts[day]) // self._counts[day]


def open_clicks(path: Path) -> Clicks:
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file, found none")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path} must be Parquet: {error}") from None
    require(path, COLUMNS, file.schema_arrow.names)
    days = Days(_clicks_per_day(path, file))
    return Clicks(file.metadata.num_rows, days.ms_at, lambda: _slices(path, days), MADE_UP)


def _clicks_per_day(path: Path, file: pq.ParquetFile) -> dict[int, int]:
    counts: Counter[int] = Counter()
    last = None
    for batch in file.iter_batches(columns=["period"]):
        for period, count in (pair.values() for pair in pc.value_counts(batch["period"]).to_pylist()):
            if last is not None and period < last:
                raise DatasetError(f"{path}: period must not decrease, got {period} after {last}")
            counts[period] += count
            last = period
    return counts


def _slices(path: Path, days: Days) -> Iterator[list[Click]]:
    row = 0
    for batch in pq.ParquetFile(path).iter_batches(SLICE_ROWS, columns=["sess", "item"]):
        sessions, items = batch["sess"].to_pylist(), batch["item"].to_pylist()
        yield [_click(n, s, i, days.ms_at(n)) for n, (s, i) in enumerate(zip(sessions, items, strict=True), row)]
        row += len(sessions)


def _click(row: int, session: int, item: int, ms: int) -> Click:
    return {
        "event_id": f"yoochoose:{row}",
        "user_id": f"session-{session}",
        "item_id": str(item),
        "action": "click",
        "ts_ms": ms,
    }
