"""The oracle against sessions worked out by hand, with every boundary that docs/semantics.md names."""

import json
from types import SimpleNamespace

import pytest

from tests.oracles.sessions import Oracle

MIN = 60_000
GAP, LATENESS, FUTURE = 30 * MIN, 10 * MIN, 5 * MIN
DAY = 24 * 60 * MIN
T0 = 1_762_000_200_000  # Saturday 2025-11-01 12:30:00 UTC
SETTINGS = SimpleNamespace(
    gap_ms=GAP, lateness_ms=LATENESS, future_ms=FUTURE, forget_ms=30 * DAY, history=50, recent=10,
    bought_hidden_ms=DAY, time_zone="UTC", boundary="gap",
)  # fmt: skip


class Feed:
    """Feeds clicks of user u, one offset after the other; times are minutes after T0."""

    def __init__(self, **settings: object) -> None:
        self.oracle = Oracle(SimpleNamespace(**(vars(SETTINGS) | settings)))
        self.offset = -1

    def raw(self, value: bytes | None, append_ms: int = T0 + DAY) -> str:
        self.offset += 1
        return self.oracle.feed(0, self.offset, append_ms, b"u", value)

    def __call__(self, minute: float = 0, action: str = "view", append_ms: int = T0 + DAY, **more: object) -> str:
        click = {
            "event_id": f"e{self.offset + 1}", "user_id": "u", "item_id": "i", "action": action,
            "ts_ms": T0 + round(minute * MIN),
        }  # fmt: skip
        return self.raw(json.dumps(click | more).encode(), append_ms)

    def __getitem__(self, name: str) -> str:
        return self.oracle.redis()["session:u"][name]

    def spans(self) -> list[tuple[float, float, int]]:
        return [((s["start_ms"] - T0) / MIN, (s["end_ms"] - T0) / MIN, s["events"]) for s in self.oracle.sessions()]


def test_a_whole_session_by_hand() -> None:
    feed = Feed()
    feed(0, "search", query="red shoes", item_id="home", category="shoes", session_id="s1", append_ms=T0 + 1)
    feed(1, "view", item_id="a", category="shoes")
    feed(2, "click", item_id="a")
    feed(2.5, "cart", item_id="a", price=19.99, quantity=3)
    feed(2.75, "uncart", item_id="e", price=1)
    feed(3, "purchase", item_id="a", price=19.99, quantity=3)
    feed(4, "purchase", item_id="b", price=5)
    feed(5, "purchase", item_id="c", quantity=7)
    feed(6, "refund", item_id="b", price=5, category="books")
    feed(9, "rate", item_id="d", rating=4.5, append_ms=T0 + 9 * MIN)
    assert feed.oracle.redis() == {
        "session:u": {
            "session_id": "s1", "started_ms": str(T0), "ended_ms": str(T0 + 9 * MIN), "as_of_ms": str(T0 + 9 * MIN),
            "events": "10", "duration_h": "0.15", "page_views": "2", "interactions": "4", "conversions": "3",
            "bounce": "0", "distinct_items": "5", "distinct_categories": "2", "spend": repr(19.99 * 3 + 5.0 - 5.0),
            "mean_dwell_s": "60.0", "start_hour": "12", "start_weekday": "5",
            "count_view": "1", "count_click": "1", "count_like": "0", "count_share": "0", "count_purchase": "3",
            "count_refund": "1", "count_rate": "1", "count_ignore": "0", "count_dislike": "0", "count_block": "0",
            "count_search": "1", "count_cart": "1", "count_uncart": "1",
            "rate_view": "0.1", "rate_click": "0.1", "rate_like": "0.0", "rate_share": "0.0",
            "rate_purchase": "0.3", "rate_refund": "0.1", "rate_rate": "0.1", "rate_ignore": "0.0",
            "rate_dislike": "0.0", "rate_block": "0.0", "rate_search": "0.1", "rate_cart": "0.1", "rate_uncart": "0.1",
            "recent_items": '["d","b","c","b","a","e","a","a","a",""]',
            "recent_actions": '["rate","refund","purchase","purchase","purchase","uncart","cart","click","view",'
            '"search"]',
            "recent_ts_ms": str([T0 + MIN * m // 4 for m in (36, 24, 20, 16, 12, 11, 10, 8, 4, 0)]).replace(" ", ""),
            "recent_truncated": "0", "late": "0", "repeats": "0",
        }
    }  # fmt: skip
    assert feed.oracle.expiries_ms() == {"session:u": T0 + 9 * MIN + 3_600_000}
    feed.oracle.finish(T0 + 9 * MIN + GAP + LATENESS)
    assert feed.oracle.sessions() == []
    feed.oracle.finish(T0 + 9 * MIN + GAP + LATENESS + 1)
    assert feed.oracle.sessions() == [
        {
            "user_id": "u", "start_ms": T0, "end_ms": T0 + 9 * MIN, "events": 10, "items": ["a", "e", "b", "c", "d"],
            "distinct_items": 5, "truncated": False,
            "counts": {
                "search": 1, "view": 1, "click": 1, "cart": 1, "uncart": 1, "purchase": 3, "refund": 1, "rate": 1,
            },
        }
    ]  # fmt: skip


def test_one_event_is_a_bounce_without_dwell() -> None:
    feed = Feed()
    feed(0, "like")
    assert [feed[f] for f in ("bounce", "events", "duration_h")] == ["1", "1", "0.0"]
    assert [feed[f] for f in ("mean_dwell_s", "rate_like")] == ["0.0", "1.0"]


def test_exactly_the_gap_belongs_and_one_ms_more_begins() -> None:
    feed = Feed()
    feed(0)
    feed(30)
    assert (feed["events"], feed["started_ms"]) == ("2", str(T0))
    feed(60 + 1 / MIN)
    assert (feed["events"], feed["started_ms"]) == ("1", str(T0 + 60 * MIN + 1))
    feed.oracle.finish(T0 + DAY)
    assert [s[2] for s in feed.spans()] == [2, 1]


def test_earlier_event_within_the_gap_moves_the_start_and_beyond_it_is_late() -> None:
    feed = Feed()
    assert feed(60) == feed(30) == "applied"
    assert feed["started_ms"] == str(T0 + 30 * MIN)
    assert feed(0) == "applied"
    assert feed(-30 - 1 / MIN) == "dead late"  # behind every open span by a ms, and 90 min behind the clock
    feed = Feed()
    assert feed(35) == "applied"
    assert feed(5 - 1 / MIN) == "late"
    assert (feed["events"], feed["late"], feed["started_ms"]) == ("1", "1", str(T0 + 35 * MIN))
    assert json.loads(feed["recent_ts_ms"]) == [T0 + 5 * MIN - 1, T0 + 35 * MIN]
    feed.oracle.finish(T0 + DAY)
    assert feed.spans() == [(5 - 1 / MIN, 5 - 1 / MIN, 1), (35, 35, 1)]


def test_too_late_begins_one_ms_beyond_gap_plus_lateness() -> None:
    feed = Feed()
    feed(0)
    feed(120)  # closes the span of minute 0
    assert feed(80) == "late"
    assert feed(49) == "dead late"  # 31 min before the span of minute 80
    assert Feed()(0) == "applied"
    feed = Feed()
    feed(120)
    assert feed(80 - 1 / MIN) == "dead late"
    assert (feed["as_of_ms"], feed["late"], feed["events"]) == (str(T0 + DAY), "0", "1")
    letter = feed.oracle.dead_letters()[0]
    assert (letter.partition, letter.offset, letter.reason) == (0, 1, "late")


def test_an_open_span_takes_in_what_the_clock_would_refuse() -> None:
    feed = Feed()
    for minute in (0, 25, 50, 75):
        feed(minute)
    assert feed(-30) == "applied"  # 105 min behind the clock, exactly a gap before its span
    feed.oracle.finish(T0 + DAY)
    assert feed.spans() == [(-30, 75, 5)]


def test_an_event_between_two_spans_joins_them() -> None:
    feed = Feed()
    feed(0)
    feed(35)
    assert feed["events"] == "1"
    assert feed(10) == "applied"  # within a gap of the live session's start
    assert (feed["events"], feed["started_ms"]) == ("2", str(T0 + 10 * MIN))
    feed.oracle.finish(T0 + DAY)
    assert feed.spans() == [(0, 35, 3)]


def test_the_clock_closes_a_span_strictly_after_gap_and_lateness() -> None:
    feed = Feed()
    feed(0)
    feed(40)
    assert feed.spans() == []
    feed(40 + 1 / MIN)
    assert feed.spans() == [(0, 0, 1)]


def test_a_session_id_is_a_label() -> None:
    feed = Feed()
    feed(5)
    for minute, session_id in ((6, "phone"), (7, "web"), (4, "web"), (8, "phone")):
        assert feed(minute, session_id=session_id) == "applied"
    assert (feed["session_id"], feed["events"], feed["late"]) == ("phone", "5", "0")
    assert feed["started_ms"] == str(T0 + 4 * MIN)
    assert feed(39, session_id="web") == "applied"
    assert (feed["session_id"], feed["events"]) == ("web", "1")


def test_where_the_client_bounds_a_change_of_session_id_begins_and_an_earlier_one_is_late() -> None:
    feed = Feed(boundary="client")
    feed(0)
    feed(1, session_id="s1")
    assert (feed["session_id"], feed["events"]) == ("s1", "2")
    feed(2)
    assert feed(3, session_id="s2") == "applied"
    assert (feed["session_id"], feed["events"], feed["started_ms"]) == ("s2", "1", str(T0 + 3 * MIN))
    assert feed(3 - 1 / MIN, session_id="s1") == "late"
    assert (feed["events"], feed["late"]) == ("1", "1")
    assert feed(3, session_id="s1") == "applied"  # not before the start: s1 begins anew
    assert (feed["session_id"], feed["events"], feed["late"]) == ("s1", "1", "0")
    assert feed(2) == "applied"  # without a session_id it belongs
    assert feed["started_ms"] == str(T0 + 2 * MIN)
    feed.oracle.finish(T0 + DAY)
    assert feed.spans() == [(0, 3, 7)]


def test_an_empty_session_id_is_none_and_an_empty_category_is_one() -> None:
    feed = Feed()
    feed(0, session_id="s1", category="")
    feed(1, session_id="")
    feed(2, session_id=None, category=None)
    assert [feed[f] for f in ("session_id", "events", "distinct_categories")] == ["s1", "3", "1"]


def test_repeats_count_once_within_the_window_and_again_beyond_it() -> None:
    feed = Feed()
    feed(0, event_id="first")
    for _ in range(49):
        feed(1)
    assert feed(0, event_id="first", append_ms=T0 + DAY + 5) == "repeat"
    assert (feed["events"], feed["repeats"], feed["as_of_ms"]) == ("50", "1", str(T0 + DAY + 5))
    feed(1)
    assert feed(0, event_id="first") == "applied"
    assert (feed["events"], feed["repeats"], feed["recent_truncated"]) == ("52", "1", "1")


def test_what_is_hidden_and_until_when() -> None:
    feed = Feed()
    feed(5, "purchase", item_id="lamp")
    feed(3, "purchase", item_id="lamp")
    feed(6, "block", item_id="rug")
    feed(7, "purchase", item_id="rug")
    feed(8, "dislike", item_id="cup")
    feed(9, "view", item_id="wick")
    feed(9, "search", item_id="home")
    assert feed(-90, "block", item_id="late") == "dead late"
    until = {"rug": T0 + 6 * MIN, "cup": T0 + 8 * MIN, "late": T0 - 90 * MIN}
    for_ever = {item: t + 3_155_760_000_000 for item, t in until.items()}
    assert feed.oracle.hidden(T0 + DAY) == {"hidden:u": for_ever | {"lamp": T0 + 5 * MIN + DAY}}
    assert feed.oracle.hidden(T0 + DAY + 5 * MIN) == {"hidden:u": for_ever}


def test_a_repeat_is_judged_before_lateness_and_counts_in_the_live_session() -> None:
    feed = Feed()
    feed(0, event_id="old")
    feed(200)
    assert feed(0, event_id="old") == "repeat"
    assert (feed["events"], feed["repeats"], feed["late"]) == ("1", "1", "0")
    feed(300)
    assert feed["repeats"] == "0"


def test_future_is_judged_against_append_time_and_t_never_exceeds_it() -> None:
    feed = Feed()
    assert feed(5, append_ms=T0) == "applied"
    assert feed["ended_ms"] == str(T0)
    assert feed(5 + 1 / MIN, append_ms=T0) == "dead future"


def test_recent_shows_ten_newest_arrivals_across_sessions() -> None:
    feed = Feed()
    for n in range(10):
        feed(n * 40, item_id=f"i{n}")
    assert feed["recent_truncated"] == "0"
    feed(9 * 40 - 1, item_id="i10")
    assert json.loads(feed["recent_items"]) == ["i10", *(f"i{n}" for n in range(9, 0, -1))]
    assert feed["recent_truncated"] == "1"


def test_time_zone_moves_hour_and_weekday() -> None:
    feed = Feed(time_zone="Asia/Kolkata")  # UTC+5:30
    feed(6 * 60)
    assert (feed["start_hour"], feed["start_weekday"]) == ("0", "6")


def test_items_of_a_closed_session_by_first_time_then_code_point() -> None:
    feed = Feed()
    feed(5, item_id="\U0001f600")
    feed(5, item_id="\ufffd")
    feed(6, item_id="\U0001f680")
    feed(3, item_id="\U0001f680")
    feed(1, "search", item_id="home")
    feed.oracle.finish(T0 + DAY)
    assert feed.oracle.sessions()[0]["items"] == ["\U0001f680", "\ufffd", "\U0001f600"]


def test_a_closed_session_lists_its_first_thousand_items_and_counts_all() -> None:
    for items in (1_000, 1_001):
        feed = Feed()
        for n in range(items):
            feed(n / 100, item_id=f"i{n}")
        feed(11, item_id="i0")
        feed.oracle.finish(T0 + DAY)
        (closed,) = feed.oracle.sessions()
        assert (closed["events"], closed["distinct_items"], closed["truncated"]) == (items + 1, items, items > 1_000)
        assert closed["items"] == [f"i{n}" for n in range(1_000)]


def test_no_event_is_in_two_closed_sessions() -> None:
    """What chains back under an emitted span, through an open one, joins the open one alone."""
    feed = Feed()
    for minute in (0, 5, 10, 41, 51):
        feed(minute)
    assert feed.spans() == [(0, 10, 3)]
    assert feed(12) == feed(4) == "applied"
    feed(95)
    assert feed.spans() == [(0, 10, 3), (4, 51, 4)]


def test_a_forgotten_user_begins_from_nothing() -> None:
    feed = Feed()
    feed(0, event_id="e")
    feed.oracle.advance(T0 + 30 * DAY)
    assert feed(0, event_id="e", append_ms=T0 + 31 * DAY) == "repeat"
    feed.oracle.advance(T0 + 30 * DAY + 1)
    assert feed["events"] == "1"
    assert feed(0, event_id="e", append_ms=T0 + 31 * DAY) == "applied"
    assert (feed["repeats"], json.loads(feed["recent_ts_ms"])) == ("0", [T0])


def test_an_event_that_the_watermark_could_have_split_off_is_at_risk() -> None:
    feed = Feed()
    feed(0)
    feed(20)
    feed(60, user_id="v")
    assert feed(30) == "applied"
    assert feed.oracle.at_risk == 0
    feed(70 + 1 / MIN, user_id="v")
    feed(30)
    assert feed.oracle.at_risk == 1


GOOD = {"event_id": "e", "user_id": "u", "item_id": "i", "action": "view", "ts_ms": T0}
LONE = b'{"note": "\\ud800", ' + json.dumps(GOOD).encode()[1:]
PLAIN = json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "json"),
        (b"", "json"),
        (b"{", "json"),
        (b'\xef\xbb\xbf{"a": 1}', "json"),
        (PLAIN + b"x", "json"),
        (PLAIN.replace(b'"i"', b'"\xff"'), "json"),
        (PLAIN.replace(b'"i"', b'"\xed\xa0\x80"'), "json"),
        (PLAIN.replace(b'"i"', b"'i'"), "json"),
        (PLAIN[:-1] + b', "price": NaN}', "json"),
        (PLAIN[:-1] + b', "note": -Infinity}', "json"),
        (PLAIN.decode().encode("utf-16"), "json"),
        (b"[" * 100_000, "json"),
        (LONE, "json"),
        (b"[]", "type"),
        (b"null", "type"),
        (b"{}", "missing"),
        (json.dumps(GOOD | {"user_id": None}).encode(), "type"),
        (json.dumps(GOOD | {"user_id": ""}).encode(), "value"),
        (json.dumps(GOOD | {"ts_ms": T0 + 0.5}).encode(), "type"),
        (json.dumps(GOOD | {"ts_ms": str(T0)}).encode(), "type"),
        (json.dumps(GOOD | {"ts_ms": True}).encode(), "type"),
        (json.dumps(GOOD | {"ts_ms": -1}).encode(), "value"),
        (json.dumps(GOOD | {"ts_ms": T0 // 1000}).encode(), "value"),
        (json.dumps(GOOD | {"ts_ms": 99_999_999_999}).encode(), "value"),
        (json.dumps(GOOD | {"ts_ms": 10**30}).encode(), "value"),
        (PLAIN.replace(str(T0).encode(), b"9" * 5000), "value"),
        (json.dumps(GOOD | {"action": "wink"}).encode(), "value"),
        (json.dumps(GOOD | {"action": 3}).encode(), "type"),
        (json.dumps(GOOD | {"price": True}).encode(), "type"),
        (json.dumps(GOOD | {"price": -0.01}).encode(), "value"),
        (PLAIN[:-1] + b', "price": 1e400}', "json"),
        (PLAIN + b" " * 1024 * 1024, "size"),
        (json.dumps(GOOD | {"quantity": 6.5}).encode(), "type"),
        (json.dumps(GOOD | {"quantity": 1e300}).encode(), "value"),
        (PLAIN[:-1] + b', "quantity": 1e400}', "json"),
        (json.dumps(GOOD | {"rating": 10.000001}).encode(), "value"),
        (json.dumps(GOOD | {"device": "d" * 65}).encode(), "value"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "item_id"} | {"ts_ms": "x"}).encode(), "missing|type"),
    ],
)
def test_a_broken_record_names_its_rule(value: bytes | None, reason: str) -> None:
    feed = Feed()
    assert feed.raw(value) == f"dead {reason}"
    raw = None if reason == "size" else value
    assert feed.oracle.dead_letters() == [(0, 0, reason, raw, b"u")]
    assert feed.oracle.redis() == {}


@pytest.mark.parametrize(
    "value",
    [
        {"price": 3, "quantity": 0, "rating": 10},
        {"session_id": None, "category": None, "price": None},
        {"device": "\U0001f600" * 64, "event_id": "\u00e9" * 128},
        {"note": {"nested": [1.5, None, 10**30]}, "another": "x" * 1_000_000},
        {"ts_ms": 100_000_000_000, "note": "x" * (1024 * 1024 - 110)},
        {"ts_ms": float(T0), "quantity": 6.0, "session_position": -0.0},
    ],
)
def test_what_the_schema_allows_is_applied(value: dict[str, object]) -> None:
    assert Feed().raw(json.dumps(GOOD | value).encode()) == "applied"
