"""A catalogue brings exactly its items, whatever its texts and its form, and its ids as an import spells them."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.infra.errors import HeadraceError

pytest.importorskip("pyspark")  # where torch is

from headrace.jobs.batch.training import catalogue_file, towers
from tests.infra.files.reading import CASES

pytestmark = pytest.mark.spark

ROWS: list[dict[str, Any]] = [
    {"item_id": 12, "category": "lamps", "price": 12.99, "title": "a lamp"},
    {"item_id": 13, "category": None, "price": None, "title": "another"},
    {"item_id": "0014", "category": "lamps", "price": 5, "title": None},
]


def tokens(price: float | None, category: str | None, *texts: str) -> list[str]:
    return towers.tokens(category, price, texts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_breaks_quotes_and_commas_in_its_texts(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "items.csv"
    file.write_text((CASES / "catalogue_newline_only.csv").read_text(), encoding)
    items, faults = catalogue_file.read(str(file))
    assert items == {
        "sku-1": tokens(19.90, "lamps", "Lamp, red", "made up second line of the text third line"),
        "sku-2": tokens(12.99, "lamps", 'Lamp "Pro" 12"', "made up, too"),
    }
    assert not faults.counts


def csv(path: Path) -> None:
    rows = [list(ROWS[0]), *(["" if cell is None else str(cell) for cell in row.values()] for row in ROWS)]
    path.write_text("".join(";".join(row) + "\n" for row in rows))


FORMS: dict[str, Callable[[Path], Any]] = {
    "items.csv": csv,
    "items.jsonl": lambda path: path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS)),
    "floats.jsonl": lambda path: path.write_bytes(
        codecs.BOM_UTF8
        + b"".join(
            json.dumps(row | {"item_id": float(row["item_id"]) if row["item_id"] == 13 else row["item_id"]}).encode()
            + b"\n"
            for row in ROWS
        )
    ),
    "items.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "items.parquet": lambda path: pq.write_table(
        pa.Table.from_pylist([row | {"item_id": str(row["item_id"]).encode()} for row in ROWS]), path
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_any_form_of_the_same_items(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    items, faults = catalogue_file.read(str(tmp_path / name))
    assert items == {
        "12": tokens(12.99, "lamps", "a lamp"),
        "13": tokens(None, None, "another"),
        "0014": tokens(5, "lamps"),
    }
    assert not faults.counts


@pytest.mark.parametrize(
    ("cell", "price"), [("12,99", 12.99), ("$5.00", 5.0), ("1.234,50 EUR", 1234.5), ("N/A", None), ("", None)]
)
def test_prices_as_people_write_them(tmp_path: Path, cell: str, price: float | None) -> None:
    file = tmp_path / "items.tsv"
    file.write_text(f"item_id\tprice\na\t{cell}\n")
    items, faults = catalogue_file.read(str(file))
    assert (items, str(faults)) == ({"a": tokens(price, None)}, "")


def test_what_does_not_fit_costs_the_value_or_the_row_and_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    rows = [{"item_id": "a", "price": "cheap", "title": "x"}, {"item_id": "b", "price": "dear", "category": ["c", "d"]}]
    rows += [
        {"item_id": None},
        {"title": "nobody's"},
        {"item_id": {"id": 1}},
        {"item_id": "e", "tags": [["x", 1], {"k": "y"}]},
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "no JSON\n")
    items, faults = catalogue_file.read(str(file))
    assert items == {"a": ["text:x"], "b": [], "e": ["text:x", "text:1", "text:y"]}
    assert faults.counts == {
        "rows without their price, which must be a number": 2,
        "rows without their category, which must be text or a number": 1,
        "rows without item_id": 2,
        "rows whose item_id is no id": 1,
        next(kind for kind in faults.counts if kind.startswith("rows that are none")): 1,
    }
    assert "which must be a number: 2 (first: row 1, 'cheap')" in str(faults)


def test_a_folder_of_parts_and_what_is_no_catalogue(tmp_path: Path) -> None:
    for name in ("part-0.csv", "part-1.csv"):
        (tmp_path / name).write_text(f"item_id,title\n{name},lamp\n")
    assert set(catalogue_file.read(str(tmp_path))[0]) == {"part-0.csv", "part-1.csv"}
    (tmp_path / "part-1.csv").write_text("sku,title\na,b\n")
    with pytest.raises(HeadraceError, match=r"part-1\.csv must have a column item_id, got sku, title"):
        catalogue_file.read(str(tmp_path))
    (tmp_path / "part-1.csv").write_text("item_id,title\n,b\n")
    with pytest.raises(
        HeadraceError, match=r"part-1\.csv must have rows with item_id, got 1 others: rows without item_id"
    ):
        catalogue_file.read(str(tmp_path))
