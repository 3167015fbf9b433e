"""Features of a session against values worked out by hand."""

import json
from typing import Any

import numpy as np
import pytest

from headrace.schemas.redis_keys import FOREVER_MS
from headrace.udfs import history, session
from headrace.udfs.history import EVENT, Recent

START_MS = 1_762_000_200_000  # Saturday 2025-11-01 12:30:00 UTC


def counters(**values: Any) -> bytes:
    row = np.zeros(1, session.COUNTERS)
    for name, value in ({"start": START_MS, "end": START_MS, "events": 1} | values).items():
        row[name] = value
    return row.tobytes()


def counts(**by_action: int) -> list[int]:
    return [by_action.get(action, 0) for action in session.ACTIONS]


def recent(*events: tuple[str, str, int]) -> bytes:
    packed = (
        EVENT.pack(EVENT.size - 2 + len(item.encode()), 7, t, 1, 0, session.ACTIONS.index(action)) + item.encode()
        for item, action, t in events
    )
    return b"".join(packed)


def features(zone: str = "UTC", session_id: str | None = None, recents: bytes = b"", **values: Any) -> dict[str, Any]:
    columns = session.features([counters(**values)], [session_id], [history.decode(recents)], zone)
    return {name: column[0] for name, column in zip(session.FIELDS, columns, strict=True)}


def test_a_session_of_four_events() -> None:
    got = features(
        end=START_MS + 90_000,
        as_of=9,
        events=4,
        items=2,
        categories=1,
        amount=5.1,
        late=1,
        repeats=2,
        counts=counts(view=1, search=1, click=1, purchase=1),
        truncated=1,
        session_id="s",
    )
    assert got["duration_h"] == 0.025
    assert got["mean_dwell_s"] == 30.0
    assert (got["page_views"], got["interactions"], got["conversions"], got["bounce"]) == (2, 1, 1, 0)
    assert (got["count_purchase"], got["rate_purchase"], got["rate_like"]) == (1, 0.25, 0.0)
    assert (got["distinct_items"], got["distinct_categories"], got["spend"]) == (2, 1, 5.1)
    assert (got["session_id"], got["as_of_ms"], got["late"], got["repeats"], got["recent_truncated"]) == (
        "s",
        9,
        1,
        2,
        1,
    )


def test_cart_and_uncart_are_interactions_and_no_conversions() -> None:
    got = features(events=4, counts=counts(view=1, cart=2, uncart=1))
    assert (got["page_views"], got["interactions"], got["conversions"]) == (1, 3, 0)
    assert (got["count_cart"], got["rate_cart"], got["count_uncart"], got["rate_uncart"]) == (2, 0.5, 1, 0.25)


def test_a_single_event_is_a_bounce_and_dwells_nowhere() -> None:
    got = features(counts=counts(view=1))
    assert (got["bounce"], got["mean_dwell_s"], got["duration_h"], got["session_id"]) == (1, 0.0, 0.0, "")


@pytest.mark.parametrize(
    ("zone", "hour", "weekday"),
    [("UTC", 12, 5), ("Asia/Kathmandu", 18, 5), ("Pacific/Kiritimati", 2, 6), ("America/New_York", 8, 5)],
)
def test_the_calendar_is_that_of_the_zone(zone: str, hour: int, weekday: int) -> None:
    got = features(zone, counts=counts(view=1))
    assert (got["start_hour"], got["start_weekday"]) == (hour, weekday)


def test_recent_events_come_newest_first_and_survive_any_text() -> None:
    got = features(recents=recent(("a", "view", 1), ('"\\é☕', "purchase", 3), ("", "search", 2)))
    assert json.loads(got["recent_items"]) == ["", '"\\é☕', "a"]
    assert json.loads(got["recent_actions"]) == ["search", "purchase", "view"]
    assert json.loads(got["recent_ts_ms"]) == [2, 3, 1]


def test_what_is_refused_is_hidden_for_ever_and_what_is_bought_for_a_while() -> None:
    events = history.decode(
        recent(
            ("lamp", "purchase", 1), ("bulb", "block", 2), ("rug", "view", 3), ("lamp", "purchase", 9),
            ("", "search", 9), ("lamp", "purchase", 4), ("wick", "dislike", 5), ("bulb", "purchase", 6),
            ("cup", "refund", 7),
        )
    )  # fmt: skip
    until = {"lamp": 1_009, "bulb": 2 + FOREVER_MS, "wick": 5 + FOREVER_MS}
    assert session.hidden(events, 1_000) == until
    assert session.hidden(history.decode(recent(("rug", "view", 3))), 1_000) == {}


def test_a_batch_equals_its_rows_one_by_one() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(50):
        by_action = rng.integers(0, 4, len(session.ACTIONS)) + 1
        rows.append(
            counters(
                events=by_action.sum(),
                counts=by_action,
                end=START_MS + int(rng.integers(0, 10**8)),
                amount=rng.normal(),
            )
        )
    nothing = Recent([], [], [])
    batch = session.features(rows, [None] * 50, [nothing] * 50, "UTC")
    single = [session.features([row], [None], [nothing], "UTC") for row in rows]
    assert batch == [[one[i][0] for one in single] for i in range(len(session.FIELDS))]


def test_values_are_plain_python() -> None:
    assert {type(value) for value in features(counts=counts(view=1)).values()} == {int, float, str}


@pytest.mark.parametrize(
    ("action", "price", "quantity", "amount"),
    [
        ("purchase", 2.5, 2, 5.0),
        ("refund", 2.5, None, -2.5),
        ("purchase", None, 3, 0.0),
        ("view", 9.0, 1, 0.0),
        ("cart", 9.0, 1, 0.0),
        ("uncart", 9.0, 1, 0.0),
        ("purchase", 2.5, 0, 0.0),
    ],
)
def test_what_an_event_adds_to_spend(action: str, price: float | None, quantity: int | None, amount: float) -> None:
    assert session.amount(action, price, quantity) == amount
