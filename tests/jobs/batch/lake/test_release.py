"""The lake and the version of 0.1.0 are read, added to and trained on by the steps of today."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from headrace.infra.versions import model_files, store
from headrace.jobs.batch import train
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.night import Night
from headrace.schemas.topics import CLICKS
from tests import releases
from tests.jobs.batch import lakes

pytestmark = pytest.mark.spark
DAY = date(2026, 1, 2)


def test_a_night_goes_on_from_them(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FACTORS": 2, "ITERATIONS": 2}.items():
        monkeypatch.setenv(f"HEADRACE_NIGHT__ALS__{name}", f"{value}")
    monkeypatch.setenv("HEADRACE_NIGHT__PROTOCOL", "last:0.2")
    with lakes.home(releases.unpack("0.1.0", tmp_path)):
        old = tables.clicks(spark, DAY).toPandas()
        assert len(old) == 302
        assert old["user_id"].nunique() == 59
        assert old["action"].unique().tolist() == ["rate"]
        pointer = store.current()
        assert pointer
        assert store.load(pointer.version).contents.items == sorted(old["item_id"].unique())

        t_ms = int(old["t_ms"].max())
        lakes.append(spark, CLICKS, [lakes.click(n, f"new-{n}", "i1", t_ms + n, "view") for n in range(5)])
        assert tables.clicks(spark, DAY).count() == 302 + 5
        train.main(train.arguments().parse_args(["als", "--date", f"{DAY}"]))
        assert model_files.description(Night(DAY).folder / "als").dims["items"] == 12
