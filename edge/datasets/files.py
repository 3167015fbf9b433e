"""Files of any form as clicks in time order. The clicks stay packed; only a slice at a time becomes Python objects."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa

from headrace.edge.datasets.columns import SLICE_ROWS, Click, Clicks, DatasetError
from headrace.infra.files.events import Adapt, events
from headrace.infra.files.mapping import FIELDS, Mapping
from headrace.infra.files.open_table import Damage
from headrace.infra.files.preview import rule_of, told


class Time(msgspec.Struct):
    ts_ms: int


def read(paths: Sequence[Path], mapping: Mapping, prefix: str, adapt: Adapt | None = None) -> Clicks:
    """Reads files as one. prefix: of the event_id of a row without one.

    Raises HeadraceError for a file that cannot be read, and DatasetError if no row of it is a click.
    """
    times: list[pa.Array] = []
    values: list[pa.Array] = []
    left_out: Counter[str] = Counter()
    said: list[str] = []
    for n, path in enumerate(paths):
        own = prefix if len(paths) == 1 else f"{prefix}:{n}"
        with events(path, mapping, own, adapt) as found:
            for part in _parts(found.records, left_out):
                values.append(pa.array(part, pa.binary()))
                times.append(pa.array([value.ts_ms for value in map(_time, part)], pa.int64()))
            said += told(found)
    if left_out and not values:
        rule, count = left_out.most_common(1)[0]
        raise DatasetError(f"{', '.join(map(str, paths))}: no row is a click; {count} rows: {rule}")
    table = pa.table({"ms": pa.chunked_array(times, pa.int64()), "value": pa.chunked_array(values, pa.binary())})
    return _in_time_order(table, dict(left_out), said)


_time = msgspec.json.Decoder(Time).decode


def _parts(records: Iterator[bytes | Damage], left_out: Counter[str]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for record in records:
        if isinstance(record, Damage):
            left_out[rule_of(record)] += 1
            continue
        part.append(record)
        if len(part) == SLICE_ROWS:
            yield part
            part = []
    if part:
        yield part


def _in_time_order(table: pa.Table, left_out: dict[str, int], said: list[str]) -> Clicks:
    rows = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    ordered = rows.sort_by([("ms", "ascending"), ("row", "ascending")])
    decode, absent = msgspec.json.decode, dict.fromkeys(FIELDS)

    def slices() -> Iterator[list[Click]]:
        for start in range(0, ordered.num_rows, SLICE_ROWS):
            yield [absent | decode(value) for value in ordered["value"].slice(start, SLICE_ROWS).to_pylist()]

    return Clicks(ordered.num_rows, lambda n: cast(int, ordered["ms"][n].as_py()), slices, left_out=left_out, told=said)
