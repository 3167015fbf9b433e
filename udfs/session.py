"""Features of live sessions, from the counters and recent events that the JVM keeps (udfs/jvm/UserHistory.java).

docs/semantics.md defines every feature. A batch of n users comes in as columns of n and goes out as columns of n, in
the order of FIELDS. Values are int, float or str, as Redis will hold them.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.schemas import enum, redis_keys
from headrace.udfs.history import Recent

ACTIONS = tuple(enum("click", "action"))
COUNTERS = np.dtype(
    [(name, "<i8") for name in ("start", "end", "as_of", "events", "items", "categories")]
    + [(name, "<i8") for name in ("late", "repeats", "truncated")]
    + [("amount", "<f8"), ("counts", "<i8", (len(ACTIONS),))]
)
Counts = NDArray[np.int64]
_PAGE_VIEWS = ("view", "search")
_INTERACTIONS = ("click", "like", "share", "rate", "dislike", "block", "cart", "uncart")
_REFUSED, _BOUGHT = {ACTIONS.index("dislike"), ACTIONS.index("block")}, ACTIONS.index("purchase")
_HIDING = {*_REFUSED, _BOUGHT}

FIELDS = (
    *("session_id", "started_ms", "ended_ms", "as_of_ms", "duration_h"),
    *("events", "page_views", "interactions", "conversions"),
    *("bounce", "distinct_items", "distinct_categories", "spend", "mean_dwell_s", "start_hour", "start_weekday"),
    *(f"count_{action}" for action in ACTIONS),
    *(f"rate_{action}" for action in ACTIONS),
    *("recent_items", "recent_actions", "recent_ts_ms", "recent_truncated", "late", "repeats"),
)


def amount(action: str, price: float | None, quantity: int | None) -> float:
    """What an event adds to `spend`: price times quantity, negative for a refund, 0 for other actions."""
    sign = {"purchase": 1.0, "refund": -1.0}.get(action, 0.0)
    return sign * (price or 0.0) * (1 if quantity is None else quantity) if sign else 0.0


def features(
    counters: Sequence[bytes], session_ids: Sequence[str | None], recents: Sequence[Recent], zone: str
) -> list[list[Any]]:
    """Computes the features of n users: one list of n values for each of FIELDS.

    counters: packed as COUNTERS; recents: of udfs/history.py; zone: names the local time of the start hour and weekday,
    such as Europe/Berlin.
    """
    c = np.frombuffer(b"".join(counters), COUNTERS)
    events, counts, length_ms = c["events"], c["counts"], c["end"] - c["start"]
    with np.errstate(invalid="ignore", divide="ignore"):
        dwell_s = np.where(events > 1, length_ms / 1000 / (events - 1), 0.0)
    hours, weekdays = zip(*(_calendar(quarter, zone) for quarter in (c["start"] // 900_000).tolist()), strict=True)
    items, actions, times = zip(*map(_recent, recents), strict=True)
    columns = [
        *([s or "" for s in session_ids], c["start"], c["end"], c["as_of"], length_ms / 3_600_000),
        *(events, _sum(counts, _PAGE_VIEWS), _sum(counts, _INTERACTIONS), _sum(counts, ("purchase",))),
        *((events == 1).astype(int), c["items"], c["categories"], c["amount"], dwell_s, hours, weekdays),
        *counts.T,
        *(counts / events[:, None]).T,
        *(items, actions, times, c["truncated"], c["late"], c["repeats"]),
    ]
    return [column.tolist() if isinstance(column, np.ndarray) else list(column) for column in columns]


def _sum(counts: Counts, actions: Sequence[str]) -> Counts:
    """Counts the events of any of the actions: counts (n, actions) -> (n,)."""
    total: Counts = counts[:, [ACTIONS.index(a) for a in actions]].sum(axis=1)
    return total


@lru_cache(100_000)
def _calendar(quarter_hour: int, zone: str) -> tuple[int, int]:
    """Local hour and weekday of a quarter of an hour since 1970. No zone changes its offset within a quarter."""
    local = datetime.fromtimestamp(quarter_hour * 900, ZoneInfo(zone))
    return local.hour, local.weekday()


def hidden(recent: Recent, bought_hidden_ms: int) -> dict[str, int]:
    """Returns the items that recent events hide from the user, each with the time until when."""
    until: dict[str, int] = {}
    if not _HIDING.isdisjoint(recent.actions):
        for item, action, t in zip(*recent, strict=True):
            if action in _HIDING:
                end = t + (redis_keys.FOREVER_MS if action in _REFUSED else bought_hidden_ms)
                until[item] = max(end, until.get(item, 0))
    return until


def _recent(recent: Recent) -> tuple[str, str, str]:
    """The item ids, actions and times of the recent events as JSON arrays, newest first."""
    items, actions, times = recent
    return _json(items[::-1]), _json([ACTIONS[action] for action in reversed(actions)]), _json(times[::-1])


def _json(values: list[Any]) -> str:
    return msgspec.json.encode(values).decode()
