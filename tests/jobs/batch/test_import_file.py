"""Historical files: every form, imported once, and refused rows reported by reason."""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch import import_file
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.lake.tables import Lake
from tests.jobs.batch import lakes

pytestmark = pytest.mark.spark
LAST = date(2026, 12, 31)
ROWS = [
    ("ann", "7", "2026-01-02 10:00:00", "9.5"),
    ("bob", "8", "2026-01-03T11:00:00+01:00", "x"),
    ("ann", "7", "", ""),
]
CSV = "\n".join(["visitor,sku,at,price", *map(",".join, ROWS)]) + "\n"
MAP = ["--map", "user_id=visitor,item_id=sku,ts_ms=at", "--default", "action=view"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Any:
    with lakes.home(tmp_path / "home"):
        yield tmp_path


def bring(path: Path, *options: str) -> None:
    import_file.main(import_file.arguments().parse_args([str(path), *options]))


def events(spark: Any) -> list[tuple[Any, ...]]:
    rows = tables.clicks(spark, LAST).collect()
    return sorted((row.user_id, row.item_id, row.action, row.t_ms, row.price) for row in rows)


def test_a_csv_with_columns_of_its_own(spark: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "visits.csv"
    path.write_text(CSV)
    bring(path, *MAP)
    assert "1 events of 3 rows\nrefused: 1 missing, 1 type" in capsys.readouterr().out
    assert events(spark) == [("ann", "7", "view", 1_767_348_000_000, 9.5)]
    (told,) = (home / "home" / "imports").glob("*-refused.jsonl")
    refused = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in refused] == [(1, "type"), (2, "missing")]
    assert refused[0]["detail"] == "price: Expected `float | null`, got 'x'"
    before = Lake(spark).snapshot()
    bring(path, *MAP)
    assert Lake(spark).snapshot() == before, "the same file again changes nothing"
    with pytest.raises(HeadraceError, match="with other options"):
        bring(path, *MAP[:3], "action=click")
    bring(path, *MAP[:3], "action=click", "--again")
    assert [row[2] for row in events(spark)] == ["click"], "in place of the first time's rows"


def test_parquet_and_json_lines(spark: Any, home: Path) -> None:
    at = pa.array([1_767_348_000, 1_767_348_001])
    pq.write_table(
        pa.table({"user_id": [1.0, 2.0], "item_id": [7, 8], "action": ["like", "view"], "at": at}), home / "a.parquet"
    )
    bring(home / "a.parquet", "--map", "ts_ms=at", "--time", "s")
    lines = [b'{"user_id": "c", "item_id": "9", "action": "view", "ts_ms": 1767348000000}', b"no JSON", b""]
    (home / "b.jsonl").write_bytes(b"\n".join(lines))
    bring(home / "b.jsonl", "--time", "ms")
    expected = [("1", "7", "like", 1_767_348_000_000), ("2", "8", "view", 1_767_348_001_000)]
    assert [row[:4] for row in events(spark)] == [*expected, ("c", "9", "view", 1_767_348_000_000)]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("visitor,sku\nann,7\n", MAP, "must have a column 'at' for ts_ms, found sku, visitor"),
        ("user_id,item_id,ts_ms\nann,7,1\n", [], "must have a column 'action' for action"),
        (CSV, ["--map", "shopper=visitor"], "no field 'shopper' in a click"),
        ("user_id,item_id,ts_ms,action\nann,7,1,wink\n", ["--time", "ms"], "none of its 1 rows is an event"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    spark: Any, home: Path, content: str, options: list[str], said: str
) -> None:
    (home / "x.csv").write_text(content)
    with pytest.raises(HeadraceError, match=said):
        bring(home / "x.csv", *options)
    assert Lake(spark).numbers() == []


def test_pairs() -> None:
    assert import_file.pairs("a=b,c=d=e") == {"a": "b", "c": "d=e"}
    with pytest.raises(argparse.ArgumentTypeError, match="must be FIELD=VALUE"):
        import_file.pairs("a=b,c")
