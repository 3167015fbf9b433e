"""Rows of anybody's table -> records of schemas/click.avsc as JSON, or why a row is none.

A row without a shopper, an item, an action or a time is refused. An optional field that does not fit costs the field,
which is counted. A path such as `properties.price` reads nested fields, `items[].id` makes one event of each item, and
`userId|anonymousId` takes the first that has a value.
"""

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files import action_names, nested, values
from headrace.infra.files.lines import Damage, Row
from headrace.infra.files.open_table import TableForm
from headrace.schemas import load, symbols

FIELDS = {str(field["name"]): field for field in load("click")["fields"]}
REQUIRED = ("user_id", "item_id", "action", "ts_ms")  # a row without event_id gets one of its place in the file
ACTIONS = symbols(FIELDS["action"]["type"])
ROW_DIGITS = 10  # of a row's number in its event_id: as text it sorts as in the file
encode = msgspec.json.Encoder().encode
REVERSED = {"purchase": "refund", "cart": "uncart"}  # of a negative quantity


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a file's columns become a click. The names are those of the options, and of the keys of a mapping's TOML."""

    map: dict[str, str] = {}
    action: dict[str, str] = {}
    default: dict[str, str] = {}
    without: tuple[str, ...] = ()
    time: str = "iso"
    zone: str = ""
    null: tuple[str, ...] = ()
    ids: str = "text"
    decimal: str = ""
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    quote: str | None = None
    encoding: str = ""
    sheet: str = ""

    def form(self) -> TableForm:
        return TableForm(self.columns, self.delimiter, self.quote, self.encoding, self.sheet)


class Findings(NamedTuple):
    """What conversion counts. costs: optional fields that did not fit, by field and rule; others by their text."""

    costs: Counter[str]
    actions: Counter[str]  # that are not ours
    reversed: Counter[str]
    dotted: dict[str, bool]  # whether all ids of a field end in .0


Convert = Callable[[Any], Any]
REMEMBERED, LONG = 1 << 16, 256  # cells of a column whose value is known, and characters of one


class Reader(NamedTuple):
    """How a field is read. convert: from a cell to its value, None for nobody."""

    name: str
    paths: tuple[str, ...]  # alternatives
    convert: Convert
    required: bool
    column: str

    def where(self) -> str:
        return f"{self.name} (column {self.column!r})" if self.column != self.name else self.name

    def value(self, row: Row, part: Any) -> Any:
        for path in self.paths:
            found = self.convert(nested.find(row, part, path))
            if found is not None:
                return found
        return None


class Conversion:
    """Converts the rows of one file. names: its columns; None if each row has its own.

    Raises HeadraceError for a field that is not a click's, and for a column that is missing.
    """

    def __init__(self, mapping: Mapping, names: list[str] | None, prefix: str) -> None:
        _refuse_unknown(mapping)
        self.mapping, self.prefix = mapping, prefix
        self.zone: tzinfo = values.zone_of(mapping.zone) if mapping.zone else UTC
        self.told = Findings(Counter(), Counter(), Counter(), {})
        self.named = {value.casefold(): action for value, action in mapping.action.items()}
        self.readers = [self._reader(name, column) for name, column in self._columns(names).items()]
        self.each = _each(self.readers)
        self.fixed = {name: self._fixed(name, value) for name, value in mapping.default.items()}

    def records(self, row: Row, number: int) -> Iterator[bytes | Damage]:
        """Yields the events of a row as JSON. number: of the row, from 0."""
        try:
            parts = nested.elements(row, self.each) if self.each else []
        except ValueError as error:
            yield Damage("value", f"{self.each}: {error}")
            return
        if not parts:
            yield self.record(row, number)
        for n, part in enumerate(parts):
            yield self.record(row, number, part, f":{n}")

    def record(self, row: Row, number: int, part: Any = None, ending: str = "") -> bytes | Damage:
        """Returns one event. part: the element of the list that it is of; ending: of its event_id."""
        record: dict[str, Any] = {"event_id": ""} | self.fixed
        for reader in self.readers:
            try:
                value = reader.value(row, part)
            except ValueError as error:
                if reader.required or reader.name == "event_id":
                    return Damage(_reason(error), f"{reader.where()}: {error}")
                self.told.costs[f"{reader.where()}: {str(error).partition(', got ')[0]}"] += 1
                continue
            if value is not None:
                record[reader.name] = value
            elif reader.required and reader.name not in record:
                return self._missing(reader, row, part)
        record["event_id"] = f"{record['event_id'] or f'{self.prefix}:{number:0{ROW_DIGITS}}'}{ending}"
        longest = FIELDS["event_id"]["maxLength"]
        if len(record["event_id"]) > longest:
            return Damage("value", f"event_id: must have <= {longest} characters, with {ending!r}")
        if record.get("quantity", 0) < 0:
            self._reverse(record)
        try:
            return encode(record)
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
            return Damage("value", "the text must be Unicode, found half a surrogate pair")

    def _missing(self, reader: Reader, row: Row, part: Any) -> Damage:
        cells = (nested.find(row, part, path) for path in reader.paths)
        found = next((cell for cell in cells if cell is not None), None)
        where = reader.where()
        if found is None or found == "":
            return Damage("missing", f"{where}: required, absent")
        return Damage("missing", f"{where}: required, got {values.shown(found)}, which stands for nobody")

    def _columns(self, names: list[str] | None) -> dict[str, str]:
        """Returns by field its column, those of the shopper, the item and the action first."""
        left_out = self.mapping.without
        wanted = {name: self.mapping.map.get(name, name) for name in FIELDS if name not in left_out}
        if names is None:
            return wanted
        if repeated := next((name for name in names if name and names.count(name) > 1), None):
            raise HeadraceError(f"the file must name each column once, found {repeated!r} twice{_or_else('', names)}")
        for name in (*self.mapping.map, *(name for name in REQUIRED if name not in self.mapping.default)):
            if name in wanted and not nested.is_there(wanted[name], names):
                found = ", ".join(map(repr, names))
                rule = f"the file must have a column {wanted[name]!r} for {name}, found {found}"
                raise HeadraceError(f"{rule}; --map {name}=COLUMN names another{_or_else(name, names)}")
        return {name: column for name, column in wanted.items() if nested.is_there(column, names)}

    def _reader(self, name: str, column: str) -> Reader:
        scoped = {entry.partition("=")[2] for entry in self.mapping.null if entry.partition("=")[0] == name}
        nobody = scoped | {entry for entry in self.mapping.null if entry.partition("=")[0] not in FIELDS}
        convert = _somebody(self._convert(name), frozenset(entry.casefold() for entry in nobody))
        if name not in ("ts_ms", "event_id"):  # those are new in each row
            convert = _remembering(convert)
        return Reader(name, tuple(column.split("|")), convert, name in REQUIRED, column)

    def _convert(self, name: str) -> Convert:
        field, decimal, time, zone = FIELDS[name], self.mapping.decimal, self.mapping.time, self.zone
        kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
        if name == "ts_ms":
            return _within(lambda value: values.milliseconds(value, time, zone), field)
        if name == "action":
            return self._action
        if kind == "double":
            return _within(lambda value: values.number(value, decimal), field)
        if kind == "long":
            return lambda value: _whole(values.number(value, decimal), field)
        return lambda value: self._text(value, name, field)

    def _text(self, value: Any, name: str, field: dict[str, Any]) -> str:
        text = values.identifier(value, self.mapping.ids == "int")
        if len(text) > field.get("maxLength", len(text)):
            raise ValueError(f"must have <= {field['maxLength']} characters, got {values.shown(text)}")
        if name in ("user_id", "item_id"):
            self.told.dotted[name] = self.told.dotted.get(name, True) and text.endswith(".0")
        return text

    def _action(self, value: Any) -> str:
        text = values.identifier(value)
        action = self.named.get(text.casefold()) or text.casefold()
        if action not in ACTIONS:
            self.told.actions[text] += 1
            meant = action_names.ours(text) or "ACTION"
            known = ", ".join(ACTIONS)
            raise ValueError(
                f"must be one of {known}, got {values.shown(text)}; --action {shlex.quote(text)}={meant} names it"
            )
        return action

    def _reverse(self, record: dict[str, Any]) -> None:
        """A negative quantity takes back what the action did; of another action it is no quantity."""
        back = REVERSED.get(record["action"])
        if back:
            self.told.reversed[f"{record['action']} of a negative quantity is a {back}"] += 1
            record |= {"action": back, "quantity": -record["quantity"]}
        elif record["action"] in REVERSED.values():
            record["quantity"] = -record["quantity"]
        else:
            self.told.costs["quantity: must be >= 0"] += 1
            del record["quantity"]

    def _fixed(self, name: str, value: str) -> Any:
        try:
            return self._convert(name)(value)
        except ValueError as error:
            raise HeadraceError(f"--default {name}: {error}") from None


def _refuse_unknown(mapping: Mapping) -> None:
    for option, names in (("map", mapping.map), ("default", mapping.default), ("without", mapping.without)):
        for name in names:
            if name not in FIELDS:
                raise HeadraceError(f"--{option} must name fields of a click ({', '.join(FIELDS)}), got {name!r}")
    for theirs, ours in mapping.action.items():
        if ours not in ACTIONS:
            raise HeadraceError(f"--action {theirs}={ours}: must be one of {', '.join(ACTIONS)}")
    if needed := [name for name in mapping.without if name in REQUIRED and name not in mapping.default]:
        raise HeadraceError(f"--without {needed[0]}: a click must have it; --default {needed[0]}=VALUE says one")
    if mapping.ids not in ("text", "int"):
        raise HeadraceError(f"--ids must be text or int, got {mapping.ids!r}")
    if mapping.decimal not in ("", ".", ","):
        raise HeadraceError(f"--decimal must be . or , got {mapping.decimal!r}")
    try:
        values.zone_of(mapping.zone or "UTC")
    except ValueError as error:
        raise HeadraceError(f"--zone: {error}") from None


def _or_else(name: str, names: list[str]) -> str:
    if any(values.looks_like_a_number(each) for each in names):
        return "; these look like data: --columns NAME,... reads a file without a header"
    if not name:
        return "; --columns names them, below a header that is cut off"
    return f", --default {name}=VALUE does without; `headrace import FILE --preview` shows what there is"


def _reason(error: ValueError) -> str:
    said = str(error)
    return "type" if said.startswith(("must be text or", "must be a number,")) else "value"


def _somebody(convert: Convert, nobody: frozenset[str]) -> Convert:
    """Returns what converts a cell, and gives None for one that stands for nobody."""

    def known(value: Any) -> Any:
        if value is None or values.is_nobody(value) or (nobody and str(value).strip().casefold() in nobody):
            return None
        found = convert(value)
        return None if nobody and isinstance(found, str) and found.casefold() in nobody else found

    return known


def _remembering(convert: Convert) -> Convert:
    remembered = lru_cache(REMEMBERED, typed=True)(convert)

    def known(value: Any) -> Any:
        if isinstance(value, str) and len(value) > LONG:
            return convert(value)
        try:
            return remembered(value)
        except TypeError:  # a list or an object has no hash
            return convert(value)

    return known


def _within(convert: Convert, field: dict[str, Any]) -> Convert:
    """Returns what converts a cell to a number, and refuses one beyond the field's limits."""
    low, high = field.get("minimum", -math.inf), field.get("maximum", math.inf)

    def known(value: Any) -> Any:
        found = convert(value)
        if low <= found <= high:
            return found
        raise ValueError(f"must be {f'>= {low}' if found < low else f'<= {high}'}, got {found}")

    return known


def _whole(value: float, field: dict[str, Any]) -> int:
    """Returns a whole number; a negative one is judged with its action."""
    if value != int(value):
        raise ValueError(f"must be whole, got {value}")
    if abs(value) > field["maximum"]:
        raise ValueError(f"must be <= {field['maximum']}, got {int(abs(value))}")
    return int(value)


def _each(readers: list[Reader]) -> str:
    """Returns the path of the list whose elements are events, or an empty text."""
    lists = {path.partition(nested.EACH)[0] for reader in readers for path in reader.paths if nested.EACH in path}
    if len(lists) > 1:
        raise HeadraceError(f"--map must name one list ({nested.EACH}), got {', '.join(sorted(lists))}")
    return next(iter(lists), "")
