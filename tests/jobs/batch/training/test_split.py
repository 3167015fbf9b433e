"""The split and its digest against plain Python."""

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("pyspark")

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch import import_file
from headrace.jobs.batch.lake import tables
from headrace.jobs.batch.training import split
from tests.infra.files.reading import CASES
from tests.jobs.batch import lakes
from tests.jobs.batch.lakes import DAY_MS, SCHEMA, T0_MS, frame

pytestmark = pytest.mark.spark

# ann: five events, two of one time; bob: one event, on the first day; cyd: two, of the last two days.
EVENTS = frame(
    [
        {"user_id": user, "item_id": "i", "event_id": event, "t_ms": T0_MS + days * DAY_MS}
        for user, event, days in [
            *(("ann", f"a{n}", day) for n, day in enumerate([0, 1, 2, 3, 3])),
            *(("bob", "b0", 0), ("cyd", "c0", 2), ("cyd", "c1", 3)),
        ]
    ]
)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("days:1", {"a3", "a4", "c1"}),
        ("days:2", {"a2", "a3", "a4", "c0", "c1"}),
        ("last:0.2", {"a4"}),
        ("last:0.5", {"a3", "a4", "c1"}),
        ("leave_one_out", {"a4", "c1"}),
    ],
)
def test_what_is_held(spark: Any, protocol: str, expected: set[str]) -> None:
    shuffled = spark.createDataFrame(EVENTS.sample(frac=1, random_state=1), SCHEMA).repartition(3)
    found = split.held(shuffled, protocol)
    assert {row.event_id for row in found.where("held").collect()} == expected
    assert found.count() == len(EVENTS)
    assert split.trained_on(shuffled, protocol).columns == shuffled.columns


# Rows of a file whose times are days: ids by row, ids with leading zeros, ids of the shop's own that run backwards.
@pytest.mark.parametrize("event_id", ["0a1b:{n}", "0a1b:{n:010}", "order-{left:02}"])
@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("leave_one_out", {"i11"}),
        ("last:0.34", {"i8", "i9", "i10", "i11"}),
        ("last:0.7", {f"i{n}" for n in range(4, 12)}),
    ],
)
def test_equal_times_keep_the_order_of_their_file(spark: Any, event_id: str, protocol: str, expected: set[str]) -> None:
    rows = [(user, n, n // 6) for user in ("u0", "u1", "u2") for n in range(12)]
    events = frame(
        [
            {
                "user_id": user,
                "item_id": f"i{n}",
                "event_id": event_id.format(n=row, left=99 - row),
                "t_ms": day * DAY_MS,
            }
            for row, (user, n, day) in enumerate(rows)
        ]
    )
    found = split.held(spark.createDataFrame(events.sample(frac=1, random_state=3), SCHEMA).repartition(3), protocol)
    held = found.where("held").collect()
    assert {user: {row.item_id for row in held if row.user_id == user} for user in ("u0", "u1", "u2")} == dict.fromkeys(
        ("u0", "u1", "u2"), expected
    )


def test_an_imported_file_of_days_holds_out_its_last_row_of_each_shopper(spark: Any, tmp_path: Path) -> None:
    with lakes.home(tmp_path):
        import_file.main(import_file.arguments().parse_args([str(CASES / "days_only.csv")]))
        held = split.held(tables.clicks(spark, date(2026, 12, 31)), "leave_one_out").where("held").collect()
    assert sorted((row.user_id, row.item_id) for row in held) == [(f"u{n}", "i11") for n in range(3)]


def test_what_the_newest_event_says_and_the_order_of_a_users_events(spark: Any) -> None:
    """Ten events at one time, of which the last says nothing of the category."""
    said = [{"user_id": f"u{n % 2}", "item_id": "i", "event_id": f"{12 - n}", "t_ms": 0} for n in range(11)]
    categories = pd.Series([*(f"c{n}" for n in range(10)), None], dtype=object)
    events = frame(said).assign(category=categories)
    shuffled = spark.createDataFrame(events.sample(frac=1, random_state=4), f"{SCHEMA}, category STRING").repartition(3)
    assert shuffled.agg(split.newest("category")).first()[0] == "c9"
    in_order = split.in_order(shuffled.repartition(1)).toPandas()
    assert in_order.offset.tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9]


def test_a_training_of_the_same_split_held_out_the_same_of_equal_times() -> None:
    ties = {"ties": [*split.TIES]}
    assert split.same({"protocol": "last:0.1"} | ties, "last:0.1")
    assert not split.same({"protocol": "last:0.1"}, "last:0.1")  # of 0.2.0 or before
    assert not split.same({"protocol": "last:0.2"} | ties, "last:0.1")
    assert split.same({"protocol": "days:2"}, "days:2")
    assert not split.same({}, "days:2")


def test_the_digest_is_of_the_rows_and_not_of_their_order(spark: Any) -> None:
    def digest(events: pd.DataFrame, partitions: int) -> str:
        return split.digest(spark.createDataFrame(events, SCHEMA).repartition(partitions))

    whole = digest(EVENTS, 1)
    assert digest(EVENTS.sample(frac=1, random_state=2), 3) == whole
    fewer, other = EVENTS[:-1], EVENTS.assign(event_id=[*EVENTS.event_id[:-1], "c2"])
    twice = pd.concat([EVENTS, EVENTS[:1]])
    assert len({whole, *(digest(each, 2) for each in (fewer, other, twice))}) == 4


@pytest.mark.parametrize("protocol", ["", "days", "days:0", "days:-1", "last:1", "last:x", "last:nan", "leave"])
def test_a_protocol_says_what_is_wrong(protocol: str) -> None:
    with pytest.raises(HeadraceError, match=r"protocol must be days:N .* got "):
        split.check(protocol)


def test_what_cannot_have_seen_what_a_night_holds_out() -> None:
    night, ours = date(2026, 1, 31), {"protocol": "days:1", "date": "2026-01-30", "digest": "1f"}
    assert split.is_unseen(ours, "days:1", night)
    others = ({"date": "2026-01-31"}, {"date": "2026-02-01"}, {"protocol": "days:2"}, {"federated": {"nodes": 5}})
    for other in others:
        assert not split.is_unseen(ours | other, "days:1", night), other
    for name in ours:  # of `headrace train`
        assert not split.is_unseen({key: ours[key] for key in ours if key != name}, "days:1", night), name
