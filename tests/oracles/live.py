"""The live session as docs/semantics.md defines it: its events, and the fields that Redis shows of it."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

PAGE_VIEWS = {"view", "search"}
INTERACTIONS = {"click", "like", "share", "rate", "dislike", "block", "cart", "uncart"}


class Event(NamedTuple):
    event_id: str
    item_id: str  # empty for a search
    action: str
    t: int
    category: str | None
    session_id: str
    amount: float  # price x quantity


def event_of(click: dict[str, Any], t: int) -> Event:
    price, quantity = click.get("price"), click.get("quantity")
    amount = (0.0 if price is None else float(price)) * (1 if quantity is None else quantity)
    item = "" if click["action"] == "search" else click["item_id"]
    return Event(
        click["event_id"], item, click["action"], t, click.get("category"), click.get("session_id") or "", amount
    )


@dataclass
class Live:
    """The live session of a user, over applied events."""

    session_id: str
    start: int
    end: int
    counts: Counter[str] = field(default_factory=Counter)
    items: set[str] = field(default_factory=set)
    categories: set[str] = field(default_factory=set)
    spend: float = 0.0
    late: int = 0
    repeats: int = 0

    def apply(self, event: Event) -> None:
        self.session_id = self.session_id or event.session_id
        self.start, self.end = min(self.start, event.t), max(self.end, event.t)
        self.counts[event.action] += 1
        if event.action != "search":
            self.items.add(event.item_id)
        if event.category is not None:
            self.categories.add(event.category)
        if event.action == "purchase":
            self.spend += event.amount
        if event.action == "refund":
            self.spend -= event.amount


def fields(live: Live, actions: list[str], zone: ZoneInfo) -> dict[str, Any]:
    return {
        "session_id": live.session_id, "started_ms": live.start, "ended_ms": live.end,
        "late": live.late, "repeats": live.repeats, "spend": live.spend,
        "distinct_items": len(live.items), "distinct_categories": len(live.categories),
    } | counted(live.counts, actions) | timed(live, live.counts.total(), zone)  # fmt: skip


def counted(counts: Counter[str], actions: list[str]) -> dict[str, Any]:
    events = counts.total()
    per_action = {f"count_{a}": counts[a] for a in actions} | {f"rate_{a}": counts[a] / events for a in actions}
    return per_action | {
        "events": events,
        "page_views": sum(counts[a] for a in PAGE_VIEWS),
        "interactions": sum(counts[a] for a in INTERACTIONS),
        "conversions": counts["purchase"],
        "bounce": int(events == 1),
    }


def timed(live: Live, events: int, zone: ZoneInfo) -> dict[str, Any]:
    start = datetime.fromtimestamp(live.start // 1000, zone)
    return {
        "duration_h": (live.end - live.start) / 3_600_000,
        "mean_dwell_s": (live.end - live.start) / 1000 / (events - 1) if events > 1 else 0.0,
        "start_hour": start.hour,
        "start_weekday": start.weekday(),
    }


def recent(window: list[Event], accepted: int, shown: int) -> dict[str, Any]:
    newest = window[: -shown - 1 : -1]

    def array(values: Iterable[object]) -> str:
        return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)

    return {
        "recent_items": array(e.item_id for e in newest),
        "recent_actions": array(e.action for e in newest),
        "recent_ts_ms": array(e.t for e in newest),
        "recent_truncated": int(accepted > shown),
    }
