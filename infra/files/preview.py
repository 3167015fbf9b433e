"""What a file would bring, before it is brought: events, days, actions, what is refused and why, the line to type."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files import action_names, options
from headrace.infra.files.events import OpenFile, events
from headrace.infra.files.formats import recognise
from headrace.infra.files.mapping import REQUIRED, Mapping
from headrace.infra.files.open_table import Damage, table

ROWS = 300_000  # that a preview reads at most
SHOWN = 10  # events
REASONS = 8
LOOKED_AT = 10_000  # rows that tell a proposal
UNIT = re.compile(r"--time (\w+) reads it")
GUESTS = ("0", "-1", "anonymous", "guest", "unknown")  # ids that many shops give to strangers


class Tally:
    """What a preview counts; it keeps no row but the first events."""

    def __init__(self) -> None:
        self.rows = self.count = 0
        self.events: list[dict[str, Any]] = []  # the first
        self.actions: Counter[str] = Counter()
        self.users: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # by reason and rule
        self.items: set[int] = set()  # hashes
        self.ids: set[int] = set()
        self.first_ms = self.last_ms = 0

    def add(self, record: bytes | Damage) -> None:
        self.rows += 1
        if isinstance(record, Damage):
            self.refused[rule_of(record)] += 1
            return
        event = msgspec.json.decode(record)
        if self.count < SHOWN:
            self.events.append(event)
        self.first_ms = min(self.first_ms, event["ts_ms"]) if self.count else event["ts_ms"]
        self.last_ms = max(self.last_ms, event["ts_ms"])
        self.count += 1
        self.actions[event["action"]] += 1
        self.users[event["user_id"]] += 1
        self.items.add(hash(event["item_id"]))
        self.ids.add(hash((event["user_id"], event["event_id"])))


class Summary(NamedTuple):
    form: str
    tally: Tally
    is_whole: bool  # not cut at ROWS
    notes: list[str]

    @property
    def repeats(self) -> int:
        return self.tally.count - len(self.tally.ids)

    def days(self) -> str:
        if not self.tally.count:
            return "no events"
        first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (self.tally.first_ms, self.tally.last_ms))
        return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {(last.date() - first.date()).days + 1} days"


def summary(path: Path, mapping: Mapping, limit: int = ROWS) -> Summary:
    """Reads up to `limit` rows. Raises HeadraceError as `events` does."""
    tally = Tally()
    with events(path, mapping, "row") as found:
        for record in islice(found.records, limit):
            tally.add(record)
        is_whole = tally.rows < limit or next(found.records, None) is None
        notes = [*told(found), *_strangers(tally.users)]
    return Summary(found.table.form, tally, is_whole, notes)


def rule_of(refused: Damage) -> str:
    """Returns a refusal without its value, so that equal ones are counted together; an action's value is kept."""
    rule, _, rest = f"{refused.reason}: {refused.detail}".partition(", got ")
    got, _, hint = rest.partition("; ")
    if "must be one of" in rule:
        return f"{rule.rpartition(': ')[0]}: {got}; {hint}"
    hint = hint.partition(" reads it as")[0]
    return f"{rule}; {hint}" if hint else rule


def told(found: OpenFile) -> list[str]:
    """Returns in sentences what the reading of a file has guessed, cost or changed."""
    said = [*found.table.notes]
    said += [f"rows that lost a field: {count:,} ({rule})" for rule, count in found.told.costs.most_common()]
    said += [f"rows: {count:,} ({rule})" for rule, count in found.told.reversed.most_common()]
    for name, is_dotted in found.told.dotted.items():
        if is_dotted:
            said.append(f"every {name} ends in .0, as the floats of another program; --ids int reads 17850.0 as 17850")
    if found.told.actions:
        names = (text for text, _ in found.told.actions.most_common())
        theirs = ",".join(f"{text}={action_names.ours(text) or 'ACTION'}" for text in names)
        said.append(
            f"rows of actions that are not ours: {found.told.actions.total():,}; --action '{theirs}' takes them"
        )
    return said


def repeats(count: int) -> str:
    """Returns what to make of rows that have the shopper and the event_id of another row."""
    rule = f"rows that repeat a shopper's event_id: {count:,}; each such event counts once"
    return f"{rule}. If it is the id of an order or a session, not of an event: --without event_id"


def _strangers(users: Counter[str]) -> list[str]:
    return [
        f"events of {name!r}: {count:,}; if it stands for strangers: --null user_id={name}"
        for name, count in users.items()
        if name.casefold() in GUESTS
    ]


def proposal(path: Path) -> tuple[Mapping, str]:
    """Returns a mapping for a file of which nothing is said, and why: by its columns, its times, its actions."""
    form = recognise(path)
    mapping, why = (form.mapping, f"it looks like {form.title}") if form else (Mapping(), "")
    unit, actions = _looked_at(path, mapping)
    if mapping.time == "iso" and unit:
        mapping, why = msgspec.structs.replace(mapping, time=unit), why or "its times are numbers"
        _, actions = _looked_at(path, mapping)
    if named := {text: action for text in actions if (action := action_names.ours(text))}:
        mapping = msgspec.structs.replace(mapping, action=mapping.action | named)
        why = f"{why}{' and ' if why else ''}it has other names for actions"
    return mapping, why


def _looked_at(path: Path, mapping: Mapping) -> tuple[str, Counter[str]]:
    """Returns the unit that refused times hint at, and the actions that are not ours."""
    with events(path, mapping, "row") as found:
        bad = [row for row in islice(found.records, LOOKED_AT) if isinstance(row, Damage)]
    hints = Counter(hint[1] for row in bad if (hint := UNIT.search(row.detail)))
    return (hints.most_common(1)[0][0] if hints else ""), found.told.actions


def show(path: Path, given: Mapping) -> Iterator[str]:
    """Yields the lines of a preview. With no option given, a file that is known by its columns is read as it is known.

    Raises HeadraceError as `events` does, after the columns of the file.
    """
    try:
        mapping, why = (given, "") if given != Mapping() else proposal(path)
        found = summary(path, mapping)
    except HeadraceError:
        yield from _columns(path, given)
        raise
    if why:
        yield f"{path}: {why}; this is how the last line would read it"
    tally = found.tally
    yield f"{path}: {found.form}, {tally.rows:,} rows{'' if found.is_whole else ', the first of more'}"
    yield f"{tally.count - found.repeats:,} events, {found.repeats:,} repeats, {tally.refused.total():,} refused"
    yield f"{len(tally.users):,} users, {len(tally.items):,} items; {found.days()}"
    yield ", ".join(f"{count:,} {action}" for action, count in tally.actions.most_common()) or "no actions"
    for event in tally.events:
        yield f"  {_event(event)}"
    for detail, count in tally.refused.most_common(REASONS):
        yield f"refused {count:,}: {detail}"
    for note in [*found.notes, *([repeats(found.repeats)] if found.repeats else [])]:
        yield f"note: {note}"
    yield f"headrace import {path} {options.line(mapping)}".rstrip()


def _event(event: dict[str, Any]) -> str:
    moment = datetime.fromtimestamp(event["ts_ms"] / 1000, UTC)
    rest = {name: value for name, value in event.items() if name not in ("event_id", *REQUIRED)}
    more = " ".join(f"{name}={value}" for name, value in rest.items())
    return f"{moment:%Y-%m-%dT%H:%M:%SZ} {event['user_id']!r} {event['action']} {event['item_id']!r} {more}".rstrip()


def _columns(path: Path, mapping: Mapping) -> Iterator[str]:
    """Yields the columns of a file and its first row, for who has to write the mapping."""
    with table(path, mapping.form()) as found:
        row = next((row for row in found.rows if not isinstance(row, Damage)), None)
        yield f"{path}: {found.form}"
        for name, value in (row or {}).items():
            yield f"  {name!r}: {str(value)[:60]!r}"
