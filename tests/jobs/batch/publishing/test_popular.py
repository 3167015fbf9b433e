"""Facts about shoppers: the shop's own file comes before their clicks, and an empty text is no value."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.jobs.batch.publishing import popular
from headrace.schemas import redis_keys

pytestmark = pytest.mark.spark


def placed(spark: Any, clicks: list[dict[str, Any]], file: Path | None = None) -> list[tuple[Any, ...]]:
    schema = "user_id STRING, event_id STRING, location STRING, device STRING"
    columns = [column.split()[0] for column in schema.split(", ")]
    given = spark.createDataFrame(pd.DataFrame(clicks, columns=columns).astype(object), schema)
    settings = load().night.model_copy(update={"shoppers": str(file or "")})
    rows = popular.placed(given, settings).orderBy("event_id").collect()
    return [(row.event_id, row.location, row.age, row.device) for row in rows]


CLICKS: list[dict[str, Any]] = [
    {"user_id": "ann", "event_id": "1", "location": "NL", "device": "phone"},
    {"user_id": "ann", "event_id": "2", "location": "", "device": None},
    {"user_id": "bob", "event_id": "3", "location": "BE", "device": ""},
]


def test_an_empty_text_says_nothing(spark: Any) -> None:
    assert placed(spark, CLICKS) == [("1", "NL", None, "phone"), ("2", None, None, None), ("3", "BE", None, None)]


def test_the_file_stands_before_the_click_and_names_a_shopper_twice_at_no_cost(spark: Any, tmp_path: Path) -> None:
    file = tmp_path / "shoppers.csv"
    file.write_text("user_id,age,location\nann,30-39,\nann,20-29,\nbob,,DE\neve,40-49,FR\n")
    assert placed(spark, CLICKS, file) == [
        ("1", "NL", "30-39", "phone"),
        ("2", None, "30-39", None),
        ("3", "DE", None, None),
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_any_form_of_the_same_shoppers(
    spark: Any, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line breaks and quotes in a cell, ids that are numbers and ids that begin with zeros, and nobody."""
    clicks = [{"user_id": user, "event_id": f"{n}"} for n, user in enumerate(["12", "0013", "14", "NULL"])]
    facts: list[dict[str, Any]] = [
        {"user_id": 12, "age": 30, "note": 'says "no",\ntwice', "location": "NL"},
        {"user_id": "0013", "age": None, "note": None, "location": "Den Haag, NL"},
        {"user_id": 14, "age": "20-29", "note": "", "location": "NULL"},
        {"user_id": None, "age": 99, "note": "", "location": "XX"},
    ]
    file = tmp_path / f"shoppers.{form}"
    if form == "csv":
        with file.open("w", newline="", encoding="utf-16") as opened:
            writer = csv.DictWriter(opened, list(facts[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(facts)
    elif form == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in facts), "utf-8-sig")
    else:
        as_text = [{name: None if cell is None else str(cell).encode() for name, cell in row.items()} for row in facts]
        pq.write_table(pa.Table.from_pylist(as_text), file)
    assert placed(spark, clicks, file) == [
        ("0", "NL", "30", None),
        ("1", "Den Haag, NL", None, None),
        ("2", None, "20-29", None),
        ("3", None, None, None),
    ]
    assert f"night.shoppers: {file}: rows without user_id: 1 (first: row 4, " in capsys.readouterr().out


def test_a_file_without_shoppers_is_an_error(spark: Any, tmp_path: Path) -> None:
    file = tmp_path / "shoppers.csv"
    file.write_text("shopper,age\nann,30-39\n")
    with pytest.raises(HeadraceError, match="must have a column user_id, got shopper, age"):
        placed(spark, CLICKS, file)


def test_what_is_in_stock_is_listed_however_few_want_it(spark: Any) -> None:
    rows = [("category", "lamps", f"i{n:03}", float(300 - n), float(300 - n)) for n in range(300)]
    counted = spark.createDataFrame(rows, "field STRING, value STRING, item_id STRING, users DOUBLE, decayed DOUBLE")
    found = popular.lists(counted, "v", 0, lambda items: [item for item in items if item < "i297"])
    listed = json.loads(found[redis_keys.popular_by("v", "category", "lamps")])
    assert [entry["item"] for entry in listed["items"]] == ["i297", "i298", "i299"]
