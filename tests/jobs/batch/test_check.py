"""The check: a sound night passes; each thing that can be wrong is reported by rule, value and limit."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from headrace.infra import paths
from headrace.infra.errors import Refusal
from headrace.jobs.batch import check, night
from headrace.jobs.batch.judging import limits
from headrace.jobs.batch.lake.tables import Lake
from headrace.jobs.batch.night import Night
from headrace.schemas.topics import CLICKS
from tests.jobs.batch import checkerboard, lakes
from tests.jobs.batch.lakes import click

pytestmark = pytest.mark.spark
DAY_MS = 86_400_000
FIRST_MS = 20_454 * DAY_MS  # 2026-01-01
LAST = date(2026, 1, 9)
LIMITS = limits.checks(paths.CONFIG / "checks.toml")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    living(tmp_path, monkeypatch, history_days=99_999)
    with lakes.home(tmp_path):
        yield tmp_path


def living(folder: Path, monkeypatch: pytest.MonkeyPatch, history_days: int) -> None:
    text = (paths.CONFIG / "checks.toml").read_text()
    file = folder / "checks.toml"
    file.write_text(text.replace("history_days = 30\n", f"history_days = {history_days}\n"))
    monkeypatch.setenv("HEADRACE_NIGHT__CHECKS_FILE", str(file))


def usual(days: int = 9, each: int = 40) -> list[dict[str, Any]]:
    return [
        click(day * 1000 + n, f"u{n % 20}", f"i{n % 9}", FIRST_MS + day * DAY_MS + n * 60_000)
        for day in range(days)
        for n in range(each)
    ]


def run(day: date = LAST) -> None:
    check.main(night.arguments("").parse_args(["--date", day.isoformat()]))


def test_a_sound_night_passes(spark: Any, home: Path) -> None:
    lakes.append(spark, CLICKS, usual())
    run()
    report = json.loads((Night(LAST).folder / "check" / "report.json").read_text())
    assert report["passed"]
    assert {rule["rule"]: rule["value"] for rule in report["rules"]}["volume"] == "1"
    assert "passed</span>" in (Night(LAST).folder / "check" / "report.html").read_text()


def test_what_is_wrong_is_told(spark: Any, home: Path) -> None:
    """A robot, repeats, refused records and a surge at once; nothing is left that a reader would take for a pass."""
    robot = [click(90_000 + n, "robot", "i", FIRST_MS + 8 * DAY_MS + n) for n in range(1000)]
    lakes.append(spark, CLICKS, usual() + robot + robot + [b"bad"] * 9)
    lakes.append(spark, CLICKS, [robot[0] | {"event_id": "z", "ts_ms": FIRST_MS + 8 * DAY_MS}])
    with pytest.raises(Refusal) as refused:
        run()
    told = [line.strip().partition(":")[0] for line in str(refused.value).splitlines()[1:]]
    assert sorted(told) == ["busiest_per_minute", "busiest_share", "repeat_share", "volume"]
    assert "busiest_per_minute: must be <= 300, got 1001" in str(refused.value)
    assert (Night(LAST).folder / "check-refused" / "report.html").is_file()
    assert not (Night(LAST).folder / "check").exists()


def test_an_empty_day_and_an_empty_lake(spark: Any) -> None:
    none = "no clicks from 2025-12-11 to 2026-01-09; "
    with pytest.raises(Refusal, match=f"{none}there are none at all: `headrace run import_file`"):
        run()
    lakes.append(spark, CLICKS, usual(days=8))
    with pytest.raises(Refusal) as refused:
        run()
    told = [line.strip().partition(":")[0] for line in str(refused.value).splitlines()[1:]]
    assert sorted(told) == ["age_h", "volume"]
    assert "got 47.35 (the newest are of 2026-01-08: `headrace retrain --date 2026-01-08`)" in str(refused.value)
    assert "got 0 (if the day is not whole: `headrace retrain --date 2026-01-08`)" in str(refused.value)


def test_a_night_without_clicks_says_what_to_type(spark: Any, home: Path) -> None:
    lakes.append(spark, CLICKS, usual())
    later = date(2026, 11, 1)
    with pytest.raises(Refusal, match=r"; the newest are of 2026-01-09: `headrace retrain --date 2026-01-09`$"):
        run(later)
    landed = Night(later).folder / "land" / "landed.json"
    landed.parent.mkdir(parents=True)
    landed.write_text(json.dumps({"snapshot": Lake(spark).snapshot().number}))
    at_ms = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1000
    lakes.append(spark, CLICKS, [click(1, "u", "i", at_ms)])
    with pytest.raises(Refusal, match=r"came after the night landed: `headrace run land --date 2026-11-01 --again`$"):
        run(later)


def test_a_night_of_history_is_not_asked_how_the_shop_goes_on(
    spark: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orders of a thousand lines, few on the last day, and the shop that serves is another one."""
    living(home, monkeypatch, history_days=30)
    orders = [click(n, f"u{n // 700}", f"i{n}", FIRST_MS + n // 700 * 3_600_000) for n in range(5_600)]
    lakes.append(spark, CLICKS, [*orders, click(9_999, "u", "i", FIRST_MS + 6 * DAY_MS)])
    checkerboard.publish("other-shop")
    run(date(2026, 1, 7))
    assert " rules passed, 3 not asked of a night of history, see " in capsys.readouterr().out
    report = json.loads((Night(date(2026, 1, 7)).folder / "check" / "report.json").read_text())
    left = {rule["rule"]: rule["value"] for rule in report["rules"] if not rule["asked"]}
    assert left == {"volume": "0.001071", "unknown_share": "1", "busiest_per_minute": "700"}


def test_a_robot_is_one_in_history_too(spark: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living(home, monkeypatch, history_days=30)
    lakes.append(spark, CLICKS, [*usual(), *(click(90_000 + n, "robot", "i", FIRST_MS + n) for n in range(1000))])
    with pytest.raises(Refusal, match=r"busiest_share: must be <= 0.2, got 0.7353$"):
        run()


def test_a_file_without_a_column(spark: Any, home: Path) -> None:
    lakes.append(spark, CLICKS, usual())
    for file in Lake(spark).snapshot().files[CLICKS]:
        path = home / "lake" / file.path
        table = pq.read_table(path, partitioning=None).drop_columns(["item_id"])
        pq.write_table(table.replace_schema_metadata(None), path)  # which holds Spark's own schema
        path.with_name(f".{path.name}.crc").unlink()
    with pytest.raises(Refusal, match="column item_id: must be there, got none") as refused:
        run()
    assert "null_share of item_id: must be <= 0, got 1 of the events otherwise" in str(refused.value)
