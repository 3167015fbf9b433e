"""Users who are each on one boundary of docs/semantics.md, to the millisecond; in arrival order."""

import random
from typing import Any

from tests.streams.clicks import DAY_MS, MINUTE_MS, Stream, combined
from tests.streams.dirty import ACTIONS

At = tuple[int, dict[str, Any]]


def at(minute: int, extra_ms: int = 0, **fields: Any) -> At:
    return minute * MINUTE_MS + extra_ms, fields


OTHERS = [at(1) for _ in range(49)]
WIDE = random.Random(16)


def wide_id() -> str:
    """Returns the longest item id, of characters of three bytes that no compression shrinks."""
    return "".join(map(chr, WIDE.choices(range(0x4E00, 0xA000), k=256)))


CASES: dict[str, list[At]] = {
    "exactly-the-gap-belongs": [at(0), at(30), at(60)],
    "a-ms-more-begins": [at(0), at(30), at(60, 1)],
    "exactly-a-gap-before-belongs": [at(60), at(30), at(0)],
    "a-ms-earlier-is-late": [at(35), at(5, -1)],
    "lateness-exactly-used-up": [at(120), at(80)],
    "too-late-by-a-ms": [at(120), at(80, -1)],
    "span-still-open": [at(0), at(40), at(20)],
    "span-closed-by-a-ms": [at(0), at(40, 1), at(20)],
    "span-reached-from-before": [at(40), at(55), at(75), at(10)],
    "span-missed-by-a-ms": [at(40), at(55), at(85), at(10, -1)],
    "clock-does-not-go-back": [at(100), at(61), at(25)],
    "other-session-at-its-start": [at(5, session_id="s2"), at(5, session_id="s1")],
    "other-session-before-it": [at(5, session_id="s2"), at(5, -1, session_id="s1")],
    "session-takes-the-first-id": [at(5), at(6, session_id="s1"), at(7), at(8, session_id="s1")],
    "repeat-among-the-last-50": [at(0, event_id="again"), *OTHERS, at(0, event_id="again")],
    "repeat-beyond-them": [at(0, event_id="again"), *OTHERS, at(1), at(0, event_id="again")],
    "repeat-before-late": [at(0, event_id="again"), at(200), at(0, event_id="again")],
    "ties-by-code-point": [at(0, item_id="\U0001f600"), at(0, item_id="\uffee"), at(1, item_id="\u00e9"), at(1)],
    "ten-events-fill-recent": OTHERS[:10],
    "eleven-overflow-it": OTHERS[:11],
}


LARGE: dict[str, list[At]] = {
    "span-of-a-thousand-items": [at(0, n, item_id=f"i{n}") for n in range(1_000)],
    "span-of-one-more": [at(0, n, item_id=f"i{n}") for n in range(1_001)],
    "span-beyond-a-record": [at(0, n, item_id=wide_id()) for n in range(2_000)],
}


def boundaries(before_ms: int) -> Stream:
    """Returns the cases in the days before a moment, one per day."""
    return one_a_day(CASES, before_ms)


def large_spans(before_ms: int) -> Stream:
    return one_a_day(LARGE, before_ms)


def one_a_day(cases: dict[str, list[At]], before_ms: int) -> Stream:
    first_ms = before_ms // DAY_MS * DAY_MS - len(cases) * DAY_MS
    stream: Stream = []
    for n, (name, events) in enumerate(cases.items()):
        day_ms = first_ms + n * DAY_MS
        for m, (after_ms, fields) in enumerate(events):
            click = {
                "event_id": f"{name}-{m}", "user_id": f"boundary/{name}", "item_id": "i", "action": "view",
                "ts_ms": day_ms + after_ms,
            }  # fmt: skip
            stream.append((day_ms + 2 * 60 * MINUTE_MS + m, click | fields))
    return stream


def everything() -> Stream:
    """Returns the boundaries, then all streams of tests/streams/clicks at once."""
    stream = combined(list(ACTIONS))
    return boundaries(stream[0][0]) + stream
