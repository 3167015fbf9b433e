"""The check: a sound night passes; each thing that can be wrong is reported by rule, value and limit."""

import json
from collections.abc import Callable
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
from headrace.schemas.topics import CLICKS, IMPRESSIONS, REWARDS
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
    robot = [click(90_000 + n, "robot", "i1", FIRST_MS + 8 * DAY_MS + n) for n in range(1000)]
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
    lakes.append(spark, CLICKS, [*orders, click(9_999, "u", "i1", FIRST_MS + 6 * DAY_MS)])
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


def shop(days: int = 9, each: int = 400) -> list[dict[str, Any]]:
    """A shop of two devices: a tenth of the events are purchases, all have a category and a price."""
    return [
        click(
            day * 10_000 + n, f"u{n % 50}", f"i{n % 90:03}", FIRST_MS + day * DAY_MS + n * 60_000,
            "purchase" if n % 10 == 0 else "view", category=f"c{n % 4}", price=10.0 + n % 7,
            device=("phone", "desktop")[n % 3 // 2], location="NL",
        )
        for day in range(days)
        for n in range(each)
    ]  # fmt: skip


def last(record: dict[str, Any]) -> bool:
    return bool(record["ts_ms"] >= FIRST_MS + 8 * DAY_MS)


Record = dict[str, Any]
Change = Callable[[Record], Record | None]


def number(record: Record) -> int:
    return int(record["event_id"][1:])


def renamed(record: Record) -> Record:
    """Another release of the tracker: prices in cents, whole names of countries, no device, other ids."""
    del record["device"]
    item, user = f"SKU-{record['item_id']}", f"guest-{record['user_id']}"
    return record | {"price": record["price"] * 100, "location": "Netherlands", "item_id": item, "user_id": user}


def silent(record: Record) -> Record | None:
    """The till and a department are not heard of, a sale says 0, and ids have lost their zeros."""
    if record["action"] == "purchase" or record["category"] == "c2":
        return None
    free = {"price": 0.0} if number(record) % 5 == 1 else {}
    return record | {"item_id": f"i{int(record['item_id'][1:])}"} | free


def doubled(record: Record) -> Record | None:
    """Each view is reported as a purchase; the desktop site is silent, and prices are those of another currency."""
    cheap = {"action": "purchase", "price": record["price"] / 10}
    return None if record["device"] == "desktop" else record | cheap


WRONG: dict[str, tuple[Change, set[str]]] = {
    "renamed": (renamed, {"price", "location_lost", "new_shape_share", "new_users_rise", "device_lost",
                          "filled device"}),
    "silent": (silent, {"action_lost", "category_lost", "free_share", "new_shape_share"}),
    "doubled": (doubled, {"action_lost", "device_lost", "price"}),
    "no prices": (lambda record: record | {"price": None}, {"filled price"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_a_shop_can_send_is_found(spark: Any, home: Path, name: str) -> None:
    change, rules = WRONG[name]
    day = [change(record) for record in shop() if last(record)]
    lakes.append(spark, CLICKS, [record for record in shop() if not last(record)])
    lakes.append(spark, CLICKS, [record for record in day if record is not None])
    assert told() == rules


def told() -> set[str]:
    with pytest.raises(Refusal) as refused:
        run()
    return {line.strip().partition(":")[0] for line in str(refused.value).splitlines()[1:]}


def test_a_sound_shop_passes_and_the_next_report_shows_it(spark: Any, home: Path) -> None:
    """Also the last value that the limits let pass: four of five purchases gone."""
    kept = [r for r in shop() if not (last(r) and r["action"] == "purchase") or int(r["event_id"][1:]) % 50 == 0]
    lakes.append(spark, CLICKS, kept)
    run(date(2026, 1, 8))
    run()
    report = json.loads((Night(LAST).folder / "check" / "report.json").read_text())
    values = {rule["rule"]: rule["value"] for rule in report["rules"]}
    assert values["action_lost"] == "0.7826 (purchase)"  # 8 of 40, of a day that is 368 of 400
    assert values["price"] == "1"
    page = (Night(LAST).folder / "check" / "report.html").read_text()
    assert '<td>action_lost<td>&lt;= 0.8<td>0.7826 (purchase)<td class="passed">passed<td>0 (' in page
    validation = json.loads((Night(LAST).folder / "check" / "validation.json").read_text())
    assert validation["day"]["statistics"]["successful_expectations"] > 0


def shown(day: int, n: int, item: str = "i001") -> dict[str, Any]:
    """An impression of a slate of one item, which is among the shop's."""
    return {
        "impression_id": f"s{day}-{n}", "user_id": f"u{n % 50}", "surface": "home", "item_id": item, "position": 0,
        "policy": "linucb", "model_version": "v", "context": [1.0], "propensity": 0.5,
        "ts_ms": FIRST_MS + day * DAY_MS + n * 1000,
    }  # fmt: skip


def paid(impression: dict[str, Any]) -> dict[str, Any]:
    return impression | {"reward": 1.0, "as_of_ms": impression["ts_ms"] + 1000}


SHOWN: dict[str, tuple[Change, Change, set[str]]] = {
    "sound": (lambda i: i, lambda i: i, set()),
    "nothing shown": (lambda i: None, lambda i: None, {"impressions", "orphan_clicks"}),
    "other items, no rewards": (lambda i: i | {"item_id": "x"}, lambda i: None, {"impressions_unknown", "rewarded"}),
    "rewards of nothing": (
        lambda i: i | {"impression_id": "a" + i["impression_id"]}, lambda i: i,
        {"orphan_clicks", "orphan_rewards", "rewarded"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_impressions_and_rewards_are_checked(spark: Any, home: Path, name: str) -> None:
    changed, rewarded, rules = SHOWN[name]
    impressions = [shown(day, n) for day in range(8) for n in range(60)]
    today = [shown(8, n) for n in range(60)]
    clicks = [
        click(100_000 + n, i["user_id"], i["item_id"], i["ts_ms"] + 500, "click", impression_id=i["impression_id"])
        for n, i in enumerate([*impressions, *today])
    ]
    lakes.append(spark, CLICKS, [*shop(), *clicks])
    lakes.append(spark, IMPRESSIONS, [*impressions, *(i for i in map(changed, today) if i)])
    lakes.append(spark, REWARDS, map(paid, [*impressions, *(i for i in map(rewarded, today) if i)]))
    if rules:
        assert told() == rules
    else:
        run()


def test_a_column_that_only_today_lacks(spark: Any, home: Path) -> None:
    """Another writer of the lake left it out; the thirty days have it, and so has the day's other file."""
    lakes.append(spark, CLICKS, usual())
    lakes.append(spark, CLICKS, [click(1_000_000, "u1", "i1", FIRST_MS + 8 * DAY_MS)])
    newest = next(file for file in Lake(spark).snapshot().files[CLICKS][::-1] if file.day == LAST.isoformat())
    without_column(home / "lake" / newest.path, "device")
    assert told() == {"column device"}


def without_column(path: Path, column: str) -> None:
    table = pq.read_table(path, partitioning=None).drop_columns([column])
    pq.write_table(table.replace_schema_metadata(None), path)  # which holds Spark's own schema
    path.with_name(f".{path.name}.crc").unlink()


def test_a_file_without_a_column(spark: Any, home: Path) -> None:
    lakes.append(spark, CLICKS, usual())
    for file in Lake(spark).snapshot().files[CLICKS]:
        without_column(home / "lake" / file.path, "item_id")
    with pytest.raises(Refusal, match="column item_id: must be there, got none") as refused:
        run()
    assert "null_share of item_id: must be <= 0, got 1 of the events otherwise" in str(refused.value)
