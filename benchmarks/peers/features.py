"""docs/semantics.md in plain Python, as fast as a careful user would write it: the work of every peer per click.

msgspec decodes and validates a click by types compiled from schemas/click.avsc; a user's state is one struct. The peers
share this, so they differ only in what carries the clicks and keeps the state. To their advantage they do not close
sessions, write dead letters or forget idle users, and judge rule 4 by the live session alone.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from headrace import schemas

SPECS: list[dict[str, Any]] = json.loads((Path(schemas.__path__[0]) / "click.avsc").read_text())["fields"]
BOUNDS = {"minLength": "min_length", "maxLength": "max_length", "minimum": "ge", "maximum": "le"}
TYPES: dict[str, Any] = {"string": str, "long": int, "double": float}
ACTIONS: list[str] = next(spec["type"]["symbols"] for spec in SPECS if spec["name"] == "action")
INDEX = {action: index for index, action in enumerate(ACTIONS)}


def field(spec: dict[str, Any]) -> tuple[Any, ...]:
    """One field of the schema as msgspec.defstruct takes it."""
    optional = isinstance(spec["type"], list)
    avro = spec["type"][1] if optional else spec["type"]
    if isinstance(avro, dict):
        return spec["name"], Literal[tuple(avro["symbols"])]
    meta = msgspec.Meta(**{BOUNDS[name]: bound for name, bound in spec.items() if name in BOUNDS})
    checked: Any = Annotated[TYPES[avro], meta]
    return (spec["name"], checked | None, None) if optional else (spec["name"], checked)


Click: Any = msgspec.defstruct("Click", [field(spec) for spec in SPECS], gc=False)
decode = msgspec.json.Decoder(Click).decode


class User(msgspec.Struct, array_like=True):
    """What is kept of a user: the live session, and what was accepted last."""

    session_id: str = ""
    start: int = 0
    end: int = 0
    as_of: int = 0
    clock: int = 0
    accepted: int = 0
    events: int = 0
    late: int = 0
    repeats: int = 0
    spend: float = 0.0
    counts: list[int] = []
    items: set[str] = set()
    categories: set[str] = set()
    event_ids: dict[str, None] = {}  # in order of arrival
    recent_items: list[str] = []  # this and the next two: newest first
    recent_actions: list[str] = []
    recent_ts: list[int] = []


def count(user: User, click: Any, append_ms: int, rules: Any) -> bool:
    """Bring a user's state up to one more click; False if the click is a dead letter."""
    t = min(click.ts_ms, append_ms)
    if click.ts_ms > append_ms + rules.future_ms:
        return False
    if click.event_id in user.event_ids:
        user.repeats += 1
    elif not _accept(user, click, t, rules):
        return False
    user.as_of = append_ms
    return True


def _accept(user: User, click: Any, t: int, rules: Any) -> bool:
    gap_ms, other = rules.gap_ms, False
    if rules.boundary == "client":
        other = bool(click.session_id and user.session_id and click.session_id != user.session_id)
    if t + gap_ms + rules.lateness_ms < user.clock and not user.start - gap_ms <= t <= user.end + gap_ms:
        return False
    if user.events and (t < user.start - gap_ms or (other and t < user.start)):
        user.late += 1
    else:
        if not user.events or t > user.end + gap_ms or other:
            _begin_session(user, t)
        _apply(user, click, t)
    _remember(user, click, t, rules)
    return True


def _begin_session(user: User, t: int) -> None:
    user.session_id, user.start, user.end, user.spend = "", t, t, 0.0
    user.events = user.late = user.repeats = 0
    user.counts, user.items, user.categories = [0] * len(ACTIONS), set(), set()


def _apply(user: User, click: Any, t: int) -> None:
    action = click.action
    user.events += 1
    user.counts[INDEX[action]] += 1
    if t < user.start:
        user.start = t
    elif t > user.end:
        user.end = t
    if not user.session_id and click.session_id:
        user.session_id = click.session_id
    if action != "search":
        user.items.add(click.item_id)
    if click.category is not None:
        user.categories.add(click.category)
    if click.price and action in ("purchase", "refund"):
        amount = click.price * (1 if click.quantity is None else click.quantity)
        user.spend += amount if action == "purchase" else -amount


def _remember(user: User, click: Any, t: int, rules: Any) -> None:
    user.accepted += 1
    user.clock = max(user.clock, t)
    user.event_ids[click.event_id] = None
    if len(user.event_ids) > rules.history:
        del user.event_ids[next(iter(user.event_ids))]
    user.recent_items.insert(0, "" if click.action == "search" else click.item_id)
    user.recent_actions.insert(0, click.action)
    user.recent_ts.insert(0, t)
    if len(user.recent_ts) > rules.recent:
        user.recent_items.pop(), user.recent_actions.pop(), user.recent_ts.pop()
