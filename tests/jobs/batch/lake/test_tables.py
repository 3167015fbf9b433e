"""The lake's promises: each event once, whole changes, the same rows for all steps of a night."""

import json
import random
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import functions as F

from headrace.infra.settings import load
from headrace.jobs.batch import compact, failures
from headrace.jobs.batch.judging import day_figures
from headrace.jobs.batch.lake import landed_rows, tables
from headrace.jobs.batch.lake.tables import File, Lake, Snapshot, with_files
from headrace.jobs.batch.night import Night
from headrace.jobs.batch.publishing import popular
from headrace.jobs.batch.training import split
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, REWARDS
from tests.jobs.batch import lakes
from tests.jobs.batch.lakes import click
from tests.streams.dirty import BAD

pytestmark = pytest.mark.spark
DAY_MS = 86_400_000
FIRST = date(2026, 1, 1)
FIRST_MS = 20_454 * DAY_MS
EARLIEST_MS = 100_000_000_000  # less would be a time in seconds


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Any:
    with lakes.home(tmp_path):
        yield tmp_path


def test_of_repeats_the_first_to_arrive_counts(spark: Any) -> None:
    """Repeats within a landing, across landings, and across days; another user's event of the same id is another."""
    rng = random.Random(1)
    sent = [click(rng.randrange(60), f"u{rng.randrange(3)}", f"i{n}", FIRST_MS + n * DAY_MS // 50) for n in range(300)]
    for part in (sent[:100], sent[100:]):
        lakes.append(spark, CLICKS, part)
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for record in sent:
        first.setdefault((record["user_id"], record["event_id"]), record)
    found = tables.clicks(spark, date(2026, 12, 31)).collect()
    assert len(found) == len(first)
    assert {(row.user_id, row.event_id): row.item_id for row in found} == {k: r["item_id"] for k, r in first.items()}
    assert all((row.day - FIRST).days == row.t_ms // DAY_MS - FIRST_MS // DAY_MS for row in found)


def test_a_night_takes_the_days_up_to_and_with_its_own(spark: Any) -> None:
    lakes.append(spark, CLICKS, [click(n, "u", "i", FIRST_MS + n * DAY_MS - 1) for n in range(1, 6)])
    assert [tables.clicks(spark, date(2026, 1, n)).count() for n in (1, 3, 9)] == [1, 3, 5]
    assert tables.clicks(spark, date(2025, 12, 31)).count() == 0


@pytest.fixture(params=["Asia/Shanghai", "America/Los_Angeles"])
def far_away(spark: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process and its JVM are somewhere else."""
    zones, here = spark._jvm.java.util.TimeZone, spark._jvm.java.util.TimeZone.getDefault()
    with monkeypatch.context() as there:
        there.setenv("TZ", request.param)
        time.tzset()
        zones.setDefault(zones.getTimeZone(request.param))
        yield
    time.tzset()
    zones.setDefault(here)


@pytest.mark.usefixtures("far_away")
def test_a_day_is_one_of_utc_wherever_the_machine_is(spark: Any) -> None:
    borders = [FIRST_MS - 1, FIRST_MS, FIRST_MS + DAY_MS - 1, FIRST_MS + DAY_MS]
    sent = [click(n, f"u{n}", "i", ms) for n, ms in enumerate(borders)]
    expected = [FIRST + timedelta(days=n) for n in (-1, 0, 0, 1)]
    raw = {"key": [None] * 4, "value": [json.dumps(each).encode() for each in sent], "partition": [0] * 4}
    raw |= {"offset": list(range(4)), "append_ms": borders}
    assert landed_rows.row_batch(CLICKS, pa.RecordBatch.from_pydict(raw), 0)["day"].to_pylist() == expected
    assert [tables.day_of(ms) for ms in borders] == expected
    assert [Night(day).end_ms for day in expected[1:]] == [FIRST_MS + n * DAY_MS for n in (1, 1, 2)]
    snapshot = lakes.append(spark, CLICKS, sent)
    assert sorted(file.day for file in snapshot.files[CLICKS]) == sorted({day.isoformat() for day in expected})
    events = tables.clicks(spark, FIRST)
    assert sorted(row.day for row in events.collect()) == expected[:3]
    shaped = events.withColumn(day_figures.SHAPE, day_figures.shape())
    assert day_figures.of_clicks(shaped, FIRST, Night(FIRST).end_ms).numbers["day_events"] == 2
    assert sorted(row.user_id for row in split.held(events, "days:1").where("held").collect()) == ["u1", "u2"]
    weighed = popular.counted(popular.placed(events.withColumn("category", F.lit("c")), load().night), FIRST, 1.0)
    assert [row.decayed for row in weighed.collect()] == [2.5]


def test_what_is_refused_is_a_dead_letter_of_the_lake(spark: Any) -> None:
    """Each bad record once, with its reason and its bytes; the good ones around it land."""
    good = [click(0, "u", "i", EARLIEST_MS), *(click(n, "u", "i", FIRST_MS + n) for n in range(1, len(BAD)))]
    bad = [make(each) or b"" for each, (_, make) in zip(good, BAD, strict=True)]
    lakes.append(spark, CLICKS, [record for pair in zip(good, bad, strict=True) for record in pair])
    letters = {row.offset: row for row in Lake(spark).read(DEAD_LETTERS).collect()}
    assert tables.clicks(spark, FIRST).count() == len(good)
    assert [letters[2 * n + 1].reason for n in range(len(BAD))] == [reason for reason, _ in BAD]
    assert [bytes(letters[2 * n + 1].value) for n in range(len(BAD))] == bad
    assert {row.topic for row in letters.values()} == {CLICKS}


def test_what_comes_from_the_future_is_refused_by_the_brokers_clock(spark: Any) -> None:
    late = FIRST_MS + 10 * DAY_MS
    raw = [
        (None, bytearray(json.dumps(click(n, "u", "i", late + n)).encode()), 0, n, late - n)
        for n in (0, 150_000, 150_001)
    ]
    rows = spark.createDataFrame(raw, lakes.RAW)
    found = (
        rows.mapInArrow(landed_rows.judge(CLICKS, lakes.FUTURE_MS), landed_rows.columns(CLICKS))
        .orderBy("offset")
        .collect()
    )
    assert [(row.table, row.reason) for row in found] == [(CLICKS, None), (CLICKS, None), (DEAD_LETTERS, "future")]
    assert [row.t_ms for row in found] == [late, late - 150_000, None]
    assert (
        found[2].detail
        == f"ts_ms: must be <= {late - 150_001 + 300_000}, the broker's clock plus 300000, got {late + 150_001}"
    )


def test_the_last_reward_of_an_impression_counts(spark: Any) -> None:
    slot = {"impression_id": "s", "user_id": "u", "item_id": "i", "surface": "home", "position": 0, "policy": "p"}
    reward = slot | {"model_version": "v", "context": [1.0], "propensity": 0.5, "ts_ms": FIRST_MS, "as_of_ms": FIRST_MS}
    lakes.append(spark, REWARDS, [reward | {"reward": value} for value in (0.0, 10.0, 1.0)])
    (found,) = tables.rewards(spark, FIRST).collect()
    assert (found.reward, found.context) == (1.0, [1.0])


def test_a_night_keeps_what_it_landed(spark: Any, home: Path) -> None:
    first = lakes.append(spark, CLICKS, [click(1, "u", "i", FIRST_MS)])
    with Night(FIRST).writing("land") as folder:
        (folder / "landed.json").write_text(json.dumps({"snapshot": first.number}))
    lakes.append(spark, CLICKS, [click(2, "u", "i", FIRST_MS)])
    assert tables.clicks(spark, FIRST).count() == 1
    assert tables.clicks(spark, FIRST + timedelta(days=1)).count() == 2


def test_two_changes_at_once_both_stand(spark: Any) -> None:
    """The second finds its number taken; its files are added to the lake that the first left."""
    ours = Lake(spark)

    def change(now: Snapshot) -> Snapshot:
        if now.number == 0:
            lakes.append(spark, CLICKS, [click(1, "u", "i", FIRST_MS)])
        return with_files(now, {CLICKS: [File("clicks/day=2026-01-01/x.parquet", 1)]})

    after = ours.commit(change)
    assert (after.number, len(after.files[CLICKS])) == (2, 2)


def test_compaction_changes_nothing_that_is_read(spark: Any) -> None:
    for n in range(4):
        lakes.append(spark, CLICKS, [click(m, f"u{m % 3}", f"i{n}", FIRST_MS + m) for m in range(n, n + 6)] + [b"bad"])
    ours = Lake(spark)
    before, snapshot = tables.clicks(spark, FIRST).collect(), ours.snapshot()
    reader = ours.read(CLICKS, FIRST, snapshot)
    for table, day, files in compact.crowded(snapshot, 2):
        assert compact.rewrite(ours, table, day, files) == 1
        assert compact.rewrite(ours, table, day, files) == 4, "a second one at the same time steps back"
    assert [len(files) for files in ours.snapshot().files.values()] == [1, 1]
    assert sorted(tables.clicks(spark, FIRST).collect()) == sorted(before)
    assert sorted(reader.collect()) == sorted(before), "who began before reads the old files"
    assert ours.read(DEAD_LETTERS).count() == 4


def test_the_sweep_takes_what_nobody_can_need(spark: Any) -> None:
    for n in range(3):
        lakes.append(spark, CLICKS, [click(n, "u", "i", FIRST_MS)])
    ours = Lake(spark)
    lakes_files = {file.path for file in ours.snapshot().files[CLICKS]}
    compact.rewrite(ours, CLICKS, FIRST.isoformat(), ours.snapshot().files[CLICKS])
    made_ms = ours.snapshot().made_ms
    assert compact.sweep(ours, made_ms - 3_600_000) == 0
    assert compact.sweep(ours, int(time.time() * 1000) + 60_000) == len(lakes_files) + 3, (
        "the files and their snapshots"
    )
    assert ours.numbers() == [4]
    assert tables.clicks(spark, FIRST).count() == 3


def test_a_corrupt_file_is_named(spark: Any, home: Path) -> None:
    lakes.append(spark, CLICKS, [click(1, "u", "i", FIRST_MS)])
    (path,) = home.glob("lake/clicks/day=*/*.parquet")
    path.write_bytes(b"no Parquet at all")
    path.with_name(f".{path.name}.crc").unlink()
    with pytest.raises(Py4JJavaError, match="FAILED_READ_FILE") as raised:
        tables.clicks(spark, FIRST).collect()
    said = failures.cause(raised.value)
    assert path.name in said
    assert "\n" not in said
    assert "is not a Parquet file" in said
