"""Rows a second and memory of the reader and of an import: CSV, JSON lines, Parquet; beside pyarrow.csv and duckdb.

The reader gives each row as a click that keeps the contract. pyarrow.csv alone gives columns of text; duckdb casts the
same columns and counts the actions. An import also judges the clicks and writes them into the lake by day.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from benchmarks import elsewhere, stack
from benchmarks.harness import Result, console, table
from benchmarks.peers import environment

ROWS = 10_000_000
PART = 500_000
FIRST_MS, SPAN_MS = 1_767_225_600_000, 30 * 86_400_000  # 2026-01-01, a month
USERS, ITEMS = 1_000_000, 100_000
FORMS = ("csv", "jsonl", "parquet")


def main(events: int, only: str) -> Result:
    """events: rows; ten million unless said. only: such as csv."""
    rows = events if events != 1_000_000 else ROWS
    ours: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=stack.HOME.parent) as folder:
        for form in (form for form in FORMS if re.search(only, form)):
            path = _written(Path(folder) / f"visits.{form}", rows)
            megabytes = path.stat().st_size / 1e6
            for system, found in (
                ("reader", elsewhere.ours("files_run", "reader", path)),
                ("import", elsewhere.ours("files_run", "import", path)),
                ("duckdb", elsewhere.peer(environment.python(), "duckdb_reads", path)),
                *((("pyarrow.csv", elsewhere.ours("files_run", "pyarrow", path)),) if form == "csv" else ()),
            ):
                figures = {"rows_per_s": round(rows / found["seconds"]), "peak_mb": found["peak_mb"]}
                (ours if system in ("reader", "import") else peers)[f"{system}, {form}"] = figures
                console.print(form, f"{megabytes:.0f} MB", system, figures)
            path.unlink()
    lines = [(name, *each.values()) for name, each in (ours | peers).items()]
    table(f"{rows:,} rows", ("system", "rows/s", "peak MB"), lines)
    ratio = ours["reader, csv"]["rows_per_s"] / peers["pyarrow.csv, csv"]["rows_per_s"] if not only else None
    return Result("files", ours, peers, ratio, "pyarrow.csv, which only splits", "rows/s", {"rows": rows})


def _written(path: Path, rows: int) -> Path:
    """Writes the table in parts, by the ending of its path."""
    chance = np.random.default_rng(1)
    first = _part(chance, 0, 1)
    with path.open("wb") as file:
        parquet = pq.ParquetWriter(file, first.schema) if path.suffix == ".parquet" else None
        for begin in range(0, rows, PART):
            part = _part(chance, begin, min(PART, rows - begin))
            if parquet:
                parquet.write_table(part)
            elif path.suffix == ".csv":
                pc.write_csv(part, file, pc.WriteOptions(include_header=begin == 0, quoting_style="needed"))
            else:
                file.write(b"".join(json.dumps(row).encode() + b"\n" for row in part.to_pylist()))
        if parquet:
            parquet.close()
    return path


def _part(chance: np.random.Generator, begin: int, rows: int) -> pa.Table:
    users = np.char.add("u", chance.zipf(1.3, rows).clip(max=USERS).astype(str))
    items = np.char.add("i", chance.zipf(1.2, rows).clip(max=ITEMS).astype(str))
    times = FIRST_MS + (begin + np.arange(rows)) * (SPAN_MS // ROWS)
    actions = np.array(["view", "view", "view", "cart", "purchase"])[chance.integers(0, 5, rows)]
    prices = np.round(chance.random(rows) * 100, 2)
    return pa.table({"user_id": users, "item_id": items, "action": actions, "ts_ms": times, "price": prices})
