"""Facts about shoppers: the shop's own file comes before their clicks, and an empty text is no value."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load
from headrace.jobs.batch.publishing import popular

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


def test_a_file_without_shoppers_is_an_error(spark: Any, tmp_path: Path) -> None:
    file = tmp_path / "shoppers.csv"
    file.write_text("shopper,age\nann,30-39\n")
    with pytest.raises(HeadraceError, match="must have a column user_id, got shopper, age"):
        placed(spark, CLICKS, file)
