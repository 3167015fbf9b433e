"""The split and its digest against plain Python."""

from typing import Any

import pandas as pd
import pytest

pytest.importorskip("pyspark")

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch.training import split
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
