"""Historical files: every form, imported once, and refused rows reported by reason."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.infra import paths
from headrace.infra.errors import HeadraceError
from headrace.jobs.batch import import_file
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.lake.tables import Lake
from tests.infra.files.reading import CASES
from tests.jobs.batch import lakes

pytestmark = pytest.mark.spark
LAST = date(2026, 12, 31)
ROWS = [
    ("ann", "7", "2026-01-02 10:00:00", "9.5"),
    ("bob", "8", "some day", "x"),
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
    said = capsys.readouterr().out
    assert "2 events of 4 rows, 0 repeats, 2 refused; 2026-01-02 to 2026-01-03\nrefused: 1 missing, 1 value" in said
    assert "rows that lost a field: 1 (price: must be a number)" in said
    assert events(spark) == [
        ("ann", "7", "view", 1_767_348_000_000, 9.5),
        ("bob", "8", "view", 1_767_434_400_000, None),
    ]
    (told,) = (home / "home" / "imports").glob("*-refused.jsonl")
    refused = [json.loads(line) for line in told.read_text().splitlines()]
    assert [(row["file"], row["row"], row["reason"]) for row in refused] == [
        (str(path), 2, "value"),
        (str(path), 4, "missing"),
    ]
    assert refused[0]["detail"].startswith("ts_ms (column 'at'): must be a time by --time iso, got 'some day'; --time ")
    assert json.loads(refused[0]["value"]) == {"visitor": "bob", "sku": "8", "at": "some day", "price": "x"}
    before = Lake(spark).snapshot()
    bring(path, *MAP)
    assert Lake(spark).snapshot() == before, "the same file again changes nothing"
    with pytest.raises(HeadraceError, match="with other options"):
        bring(path, *MAP[:3], "action=click")
    bring(path, *MAP[:3], "action=click", "--again")
    assert [row[2] for row in events(spark)] == ["click"] * 2, "in place of the first time's rows"


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
        ("visitor,sku\nann,7\n", MAP, "must have a column 'at' for ts_ms, found 'visitor', 'sku'"),
        ("user_id,item_id,ts_ms\nann,7,1\n", [], "must have a column 'action' for action"),
        (
            CSV,
            ["--dataset", "movielens", "--time", "s"],
            "--dataset movielens has a mapping of its own, got --time s too",
        ),
        (CSV, ["--map", "shopper=visitor"], "--map must name fields of a click"),
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


def test_a_folder_of_files_and_their_sums(spark: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file that cannot be read costs itself; what repeats an event_id is told before it is in the lake."""
    folder = home / "exports"
    folder.mkdir()
    header = "event_id,user_id,item_id,ts_ms,action\n"
    (folder / "a.csv").write_text(header + "1,ann,7,2026-01-02,view\n1,ann,8,2026-01-02,view\n,bob,8,2026-01-02,cart\n")
    (folder / "b.tsv").write_text(header.replace(",", "\t") + "2\tann\t9\t2026-01-02\tview\n")
    (folder / "c.csv").write_bytes(b"\x00\x01")
    with pytest.raises(HeadraceError, match=r"1 of 3 files are not imported; the first: .*c\.csv"):
        bring(folder)
    said = capsys.readouterr().out
    assert "a.csv: rows that repeat a shopper's event_id: 1; each such event counts once" in said
    assert "2 files: 3 events of 4 rows, 1 repeats, 0 refused" in said
    assert len(events(spark)) == 3


def test_a_data_set_of_its_maker(spark: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bring(CASES / "kaggle_ecommerce_data.csv", "--dataset", "online-retail")
    assert "60 events of 60 rows, 0 repeats, 0 refused" in capsys.readouterr().out
    assert sum(row[0].startswith("anonymous-") for row in events(spark)) == 12
    assert sum(row[2] == "refund" for row in events(spark)) == 4


def test_a_preview_changes_nothing(spark: Any, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bring(CASES / "retailrocket_events.csv", "--preview")
    assert "184 events, 0 repeats, 0 refused" in capsys.readouterr().out
    assert Lake(spark).numbers() == []


KILLED = """
import os, sys
from headrace.infra.files import events
from headrace.jobs.batch import import_file
real = import_file.{name}
def dies(*values):
    found = real(*values)
    os.kill(os.getpid(), 9)
import_file.{name} = dies
import_file.main(import_file.arguments().parse_args(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["stage", "_refused"])
def test_an_import_that_is_killed_leaves_nothing_half(spark: Any, home: Path, name: str) -> None:
    """After the rows are staged; and after their files are written, before the snapshot that lists them."""
    path = home / "visits.csv"
    path.write_text(CSV)
    command = [sys.executable, "-c", KILLED.format(name=name), str(path), *MAP]
    killed = subprocess.run(command, cwd=paths.PACKAGE, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr[-2000:]
    assert Lake(spark).numbers() == []
    bring(path, *MAP)
    assert len(events(spark)) == 2
