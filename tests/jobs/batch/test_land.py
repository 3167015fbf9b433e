"""Which offsets are landed next, from what the lake covers and what Kafka has; tests/stack/test_land.py lands them."""

import pytest

pytest.importorskip("pyspark")

from headrace.infra.errors import HeadraceError
from headrace.jobs.batch import land
from headrace.jobs.batch.lake.tables import Overtaken, Snapshot
from headrace.jobs.batch.land import Covered, Offsets, Span, Topic

OLD, NEW = "AbOld", "AbNew"
COVERED = Covered({"0": (0, 1000), "1": (0, 10)}, OLD)


def upcoming(before: Covered, topic_id: str, offsets: Offsets, lossy: bool = False, records: int = 10_000) -> Span:
    ends = {part: end for part, (_, end) in offsets.items()}
    return land.upcoming(before, Topic("clicks", topic_id, offsets), ends, records, lossy)


def landed(before: Covered, span: Span) -> Covered:
    """Returns what the lake covers once the span has landed."""
    ids = {"clicks": before.topic_id} if before.topic_id else {}
    snapshot = Snapshot(offsets={"clicks": before.offsets, "rewards": {"0": (0, 7)}}, topic_ids=ids)
    after = land._covering(snapshot, "clicks", span, {})
    assert after.offsets["rewards"] == {"0": (0, 7)}
    return land.covered(after, "clicks")


def test_a_topic_goes_on_behind_what_is_covered() -> None:
    span = upcoming(COVERED, OLD, {0: (0, 1500), 1: (5, 10), 2: (0, 3)})
    assert span.offsets == {0: (1000, 1500), 2: (0, 3)}
    assert landed(COVERED, span) == Covered({"0": (0, 1500), "1": (0, 10), "2": (0, 3)}, OLD)


@pytest.mark.parametrize("end", [0, 999, 1000, 1001, 1500])
def test_a_topic_that_was_made_anew_is_an_error_however_far_it_has_grown(end: int) -> None:
    with pytest.raises(
        HeadraceError, match=f"clicks: the topic was made anew: the lake covers {OLD}, but Kafka has {NEW}"
    ):
        upcoming(COVERED, NEW, {0: (0, end), 1: (0, 10)})


def test_lossy_lands_the_new_topic_from_its_beginning_and_counts_its_own_offsets() -> None:
    """Also of the partition without a record yet, of which the lake covered ten of the old topic."""
    span = upcoming(COVERED, NEW, {0: (0, 1500), 1: (0, 0)}, lossy=True, records=1000)
    assert span.offsets == {0: (0, 1000)}
    after = landed(COVERED, span)
    assert after == Covered({"0": (0, 1000)}, NEW)
    further = upcoming(after, NEW, {0: (0, 1500), 1: (0, 4)})
    assert further.offsets == {0: (1000, 1500), 1: (0, 4)}


@pytest.mark.parametrize("topic_id", [NEW, ""])
def test_a_snapshot_without_an_id_goes_on_and_takes_the_one_that_is_there(topic_id: str) -> None:
    before = COVERED._replace(topic_id="")
    span = upcoming(before, topic_id, {0: (0, 1500), 1: (0, 10)})
    assert span.offsets == {0: (1000, 1500)}
    assert landed(before, span).topic_id == topic_id


def test_a_broker_without_ids_goes_on_and_the_id_is_kept() -> None:
    span = upcoming(COVERED, "", {0: (0, 1500), 1: (0, 10)})
    assert span.offsets == {0: (1000, 1500)}
    assert landed(COVERED, span).topic_id == OLD


@pytest.mark.parametrize(("first", "end"), [(1001, 2000), (0, 999)])
def test_lost_records_are_an_error_that_says_where(first: int, end: int) -> None:
    """By retention, and on a broker without ids in a topic that was made anew and is shorter."""
    lost = (
        f"clicks/0: the lake covers the offsets below 1000, but Kafka has only {first} to {end}; --lossy goes on from"
    )
    with pytest.raises(HeadraceError, match=lost):
        upcoming(COVERED, OLD, {0: (first, end)})
    assert upcoming(COVERED, OLD, {0: (first, end)}, lossy=True).offsets == {0: (first, end)}


@pytest.mark.parametrize("now", [COVERED._replace(topic_id=NEW), COVERED._replace(offsets={"0": (0, 1001)})])
def test_a_landing_that_was_overtaken_does_not_count(now: Covered) -> None:
    span = upcoming(COVERED, OLD, {0: (0, 1500), 1: (0, 10)})
    snapshot = Snapshot(offsets={"clicks": now.offsets}, topic_ids={"clicks": now.topic_id})
    with pytest.raises(Overtaken):
        land._covering(snapshot, "clicks", span, {})
