"""What a node makes of its own file: the model's items, each user once, all else counted, and nothing without any."""

import codecs
import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.edge.federated import local_data
from headrace.infra.errors import HeadraceError
from tests.infra.files.reading import CASES

ITEMS = {"12": 0, "13": 1, "007": 2, "café": 3}
PAIRS: list[tuple[Any, Any]] = [("ann", "12"), ("bob", "007"), ("ann", "café"), ("ann", "12")]


def csv(pairs: list[tuple[Any, Any]], delimiter: str = ",") -> str:
    return "".join(f"{user}{delimiter}{item}{delimiter}x\n" for user, item in [("user_id", "item_id"), *pairs])


def database(path: Path, pairs: list[tuple[Any, Any]], table: str = "events") -> None:
    with sqlite3.connect(path) as opened:
        opened.execute(f"CREATE TABLE {table} (user_id, item_id)")
        opened.executemany(f"INSERT INTO {table} VALUES (?, ?)", pairs)


FORMS: dict[str, Callable[[Path], Any]] = {
    "shop.csv": lambda path: path.write_text(csv(PAIRS)),
    "mark.csv": lambda path: path.write_bytes(codecs.BOM_UTF8 + csv(PAIRS).encode()),
    "excel.csv": lambda path: path.write_text(csv(PAIRS, ";"), "utf-16"),
    "shop.tsv": lambda path: path.write_text(csv(PAIRS, "\t")),
    "shop.jsonl": lambda path: path.write_text(
        "".join(json.dumps({"user_id": user, "item_id": 12 if item == "12" else item}) + "\n" for user, item in PAIRS)
    ),
    "shop.db": lambda path: database(path, [(user, 12.0 if item == "12" else item) for user, item in PAIRS]),
}


@pytest.mark.parametrize("name", FORMS)
def test_any_form_of_the_same_events(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FORMS[name](tmp_path / name)
    rows = local_data.read(str(tmp_path / name), ITEMS)
    assert (rows.indptr.tolist(), rows.columns.tolist(), rows.strengths.tolist()) == ([0, 2, 3], [0, 3, 2], [1.0] * 3)
    assert "without" not in caplog.text


BAD = [("", "12"), ("NULL", "13"), ("ann", ""), ("ann", "new"), ("ann", "12.0"), ("u" * 257, "12")]
COUNTED = (
    "rows without user_id: 2 (first: row 5, '')",
    "rows without item_id: 1 (first: row 7, '')",
    "rows of items that the model does not have: 2 (first: row 8, 'new')",
    "rows whose user_id is no id: 1 (first: row 10, 'uuu",
    "rows that are none (must have 3 cells, found 1): 1 (first: row 11, 'ann')",
    "rows that are none (must have 3 cells, found 4): 1",
    "utf-8",
)


def test_what_is_left_out_of_a_file_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "shop.csv"
    file.write_bytes(csv(PAIRS + BAD).encode() + b"ann\nbob,13,y,z\nbob,\xe9,x\n")
    with caplog.at_level(logging.WARNING):
        rows = local_data.read(str(file), ITEMS)
    assert (rows.indptr.tolist(), rows.columns.tolist()) == ([0, 2, 3], [0, 3, 2])
    assert f"{file}: 4 rows are used; left out: " in caplog.text
    assert [said for said in COUNTED if said not in caplog.text] == []


def test_what_is_left_out_of_a_database_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "shop.sqlite"
    more = [(None, "12"), ("ann", None), ("ann", 7), ("ann", b"\xff"), ("bob", 13.5)]
    database(file, [*PAIRS, *more], "purchases")
    with sqlite3.connect(file) as opened:
        opened.execute("INSERT INTO purchases VALUES ('ann', CAST(x'ff' AS TEXT))")
    with caplog.at_level(logging.WARNING):
        rows = local_data.read(f"{file}?table=purchases", ITEMS)
    assert rows.columns.tolist() == [0, 3, 2]
    for said in (
        "rows without user_id: 1 (first: row 5, None); rows without item_id: 1 (first: row 6, None)",
        "rows of items that the model does not have: 2 (first: row 7, '7')",
        r"rows whose item_id is no id: 2 (first: row 8, b'\xff')",
    ):
        assert said in caplog.text


REFUSED = {
    "other ids": (
        (CASES / "node_shop_float_ids.csv").read_text(),
        r"such as '12', '13', '007'; got rows of items .*: 2 .*'12\.0'",
    ),
    "a header alone": (csv([]), "got no rows"),
    "nobody": (
        csv([("", "12"), ("NULL", "13")]),
        "must have rows with user_id and item_id, got 2 others: rows without user_id: 2",
    ),
    "other columns": ("user,item\nann,12\n", "must have a column user_id, got user, item"),
    "nothing": ("", "must have rows, got an empty file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_node_that_knows_no_item_refuses(case: str, tmp_path: Path) -> None:
    text, expected = REFUSED[case]
    file = tmp_path / "shop.csv"
    file.write_text(text)
    with pytest.raises(HeadraceError, match=expected):
        local_data.read(str(file), ITEMS)


def test_a_database_that_is_none_or_has_no_such_table(tmp_path: Path) -> None:
    file = tmp_path / "shop?%41.db"
    file.write_text("no database, but long enough to be looked at as one")
    with pytest.raises(HeadraceError, match="must be SQLite with a table events of user_id and item_id: file is not a"):
        local_data.read(str(file), ITEMS)
    file.unlink()
    database(file, PAIRS)
    assert np.array_equal(local_data.read(str(file), ITEMS).columns, [0, 3, 2])
    with pytest.raises(HeadraceError, match=r"a table purchases of .*: no such table: purchases"):
        local_data.read(f"{file}?table=purchases", ITEMS)
    with pytest.raises(HeadraceError, match="must be a plain name"):
        local_data.read(f"{file}?table=a b", ITEMS)
    with pytest.raises(HeadraceError, match="must name an existing file"):
        local_data.read(str(tmp_path / "nothing.csv"), ITEMS)
