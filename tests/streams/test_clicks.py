"""The streams hold what they promise, so that the tests on the stack test what they claim."""

import json
from collections import Counter
from types import SimpleNamespace

from tests.oracles.sessions import Oracle
from tests.oracles.test_sessions import SETTINGS
from tests.streams.boundaries import boundaries, everything, large_spans
from tests.streams.clicks import DAY_MS, Record, partition_of, records, sweepers
from tests.streams.dirty import planted
from tests.streams.scattered import KEYS, ORDERLESS, scattered

PARTITIONS = 4
APPEND_MS = 1_763_900_000_000


def fed(sent: list[Record], **settings: str) -> Oracle:
    oracle, offsets = Oracle(SimpleNamespace(**(vars(SETTINGS) | settings))), Counter[int]()
    for record in sent:
        partition = partition_of((record.key or b"").decode(), PARTITIONS)
        oracle.feed(partition, offsets[partition], APPEND_MS, record.key, record.value)
        offsets[partition] += 1
    oracle.finish()
    return oracle


def test_dirty_records_take_the_path_they_were_planted_for() -> None:
    mix = planted(APPEND_MS - DAY_MS)
    assert len(mix) == 20_000
    oracle = fed([each.record for each in mix], boundary="client")
    assert oracle.counts == Counter(each.path for each in mix)
    assert oracle.at_risk == 0
    assert len(oracle.counts) == 10  # applied, repeat, late; dead: size, json, missing, type, value, late, future


def test_partitions_that_a_producer_chose_change_no_count_in_whatever_order_they_are_read() -> None:
    sent = scattered(APPEND_MS - DAY_MS)
    orders = sent, sent[::-1], sorted(sent, key=lambda record: partition_of(f"{record.key!r}", PARTITIONS))
    for oracle in map(fed, orders):
        assert oracle.at_risk == 0
        for user in KEYS:
            found = oracle.redis()[f"session:scattered/{user}"]
            assert {name: found[name] for name in ORDERLESS} == ORDERLESS
        oracle.finish(APPEND_MS)
        assert [closed["events"] for closed in oracle.sessions()] == [20] * len(KEYS)


def test_all_streams_at_once_are_skewed_long_shuffled_and_resent() -> None:
    stream = everything()
    oracle = fed([*records(stream), *sweepers(stream[-1][0] + DAY_MS, PARTITIONS)])
    by_user = Counter(click["user_id"] for _, click in stream)
    assert len(stream) > 100_000
    assert by_user["heavy/u"] > 0.3 * len(stream)
    assert oracle.at_risk == 0
    assert oracle.counts["repeat"] > 1_500
    assert oracle.counts["late"] > 100
    live = oracle.redis()
    assert min(int(live[f"session:{user}"]["events"]) for user in ("heavy/u", "long/u")) > 2_500
    assert sum(closed["events"] > 2_000 for closed in oracle.sessions()) > 10
    assert len(oracle.highest) == PARTITIONS


def test_each_boundary_falls_on_its_side() -> None:
    oracle = fed(list(records(boundaries(APPEND_MS - DAY_MS))))
    assert oracle.at_risk == 0
    live = oracle.redis()
    for name, events, late in [
        ("exactly-the-gap-belongs", 3, 0), ("a-ms-more-begins", 1, 0), ("exactly-a-gap-before-belongs", 3, 0),
        ("a-ms-earlier-is-late", 1, 1), ("lateness-exactly-used-up", 1, 1), ("too-late-by-a-ms", 1, 0),
        ("span-reached-from-before", 4, 0), ("span-missed-by-a-ms", 3, 0), ("clock-does-not-go-back", 1, 1),
        ("other-session-at-its-start", 2, 0), ("other-session-before-it", 2, 0),
        ("repeat-among-the-last-50", 50, 0), ("repeat-beyond-them", 52, 0), ("repeat-before-late", 1, 0),
    ]:  # fmt: skip
        fields = live[f"session:boundary/{name}"]
        assert (name, fields["events"], fields["late"]) == (name, str(events), str(late))
    assert oracle.counts["dead late"] == 3
    spans = [s["events"] for s in oracle.sessions() if s["user_id"].startswith("boundary/span-")]
    assert spans == [1, 2, 3, 4, 3]


def test_large_spans_are_at_the_limit_and_beyond_a_record() -> None:
    oracle = fed(list(records(large_spans(APPEND_MS - DAY_MS))))
    oracle.finish(APPEND_MS)
    closed = sorted(oracle.sessions(), key=lambda span: int(span["events"]))
    assert [(each["events"], each["truncated"]) for each in closed] == [(1_000, False), (1_001, True), (2_000, True)]
    assert len(json.dumps(closed[-1], ensure_ascii=False).encode()) > 700_000
