"""Rows of anybody's table -> records of schemas/click.avsc as JSON, or why a row is none.

A row without a shopper, an item, an action or a time is refused. An optional field that does not fit costs the field,
which is counted. A path such as `properties.price` reads nested fields, `items[].id` makes one event of each item, and
`userId|anonymousId` takes the first that has a value.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

import msgspec

from headrace.infra.errors import HeadraceError
from headrace.infra.files import values
from headrace.infra.files.lines import Damage
from headrace.infra.files.tables import Layout, Row
from headrace.schemas import load, symbols

FIELDS = {str(field["name"]): field for field in load("click")["fields"]}
REQUIRED = ("user_id", "item_id", "action", "ts_ms")  # a row without event_id gets one of its place in the file
ACTIONS = symbols(FIELDS["action"]["type"])
ROW_DIGITS = 10  # of a row's number in its event_id: as text it sorts as in the file
EACH = "[]"
REVERSED = {"purchase": "refund", "cart": "uncart"}  # of a negative quantity
# What others call our actions, in small letters without blanks and marks.
SYNONYMS = {
    "view": ("pv", "pageview", "productviewed", "productview", "viewitem", "detail", "impressionclick"),
    "click": ("clicks", "clicked", "productclicked", "selectitem"),
    "like": ("fav", "favorite", "favourite", "wishlist", "addtowishlist", "productaddedtowishlist", "liked"),
    "cart": ("carts", "addtocart", "productadded", "basket", "addtobasket", "added"),
    "uncart": ("removefromcart", "productremoved", "removed"),
    "purchase": ("buy", "buys", "bought", "transaction", "order", "orders", "ordercompleted", "purchased", "sale"),
    "refund": ("return", "returned", "orderrefunded", "cancelled"),
    "share": ("shared", "productshared"),
    "rate": ("rating", "rated", "review", "productreviewed"),
    "search": ("searched", "productssearched", "viewsearchresults"),
}


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

    def layout(self) -> Layout:
        return Layout(self.columns, self.delimiter, self.quote, self.encoding, self.sheet)


class Told(NamedTuple):
    """What conversion counts. costs: optional fields that did not fit, by field and rule; others by their text."""

    costs: Counter[str]
    actions: Counter[str]  # that are not ours
    reversed: Counter[str]
    dotted: Counter[str]  # ids that end in .0, by field
    ids: Counter[str]  # all ids, by field


Convert = Callable[[Any], Any]


class Reader(NamedTuple):
    name: str
    paths: tuple[str, ...]  # alternatives
    convert: Convert
    nobody: frozenset[str]
    required: bool
    column: str


class Clicks:
    """Converts the rows of one file. names: its columns; None if each row has its own.

    Raises HeadraceError for a field that is not a click's, and for a column that is missing.
    """

    def __init__(self, mapping: Mapping, names: list[str] | None, prefix: str) -> None:
        _refuse_unknown(mapping)
        self.mapping, self.prefix = mapping, prefix
        self.zone: tzinfo = values.zone_of(mapping.zone) if mapping.zone else UTC
        self.told = Told(Counter(), Counter(), Counter(), Counter(), Counter())
        self.named = {value.casefold(): action for value, action in mapping.action.items()}
        self.readers = [self._reader(name, column) for name, column in self._columns(names).items()]
        self.each = _each(self.readers)
        self.fixed = {name: self._fixed(name, value) for name, value in mapping.default.items()}

    def records(self, row: Row, number: int) -> Iterator[bytes | Damage]:
        """Yields the events of a row as JSON. number: of the row, from 0."""
        own_id = f"{self.prefix}:{number:0{ROW_DIGITS}}"
        parts = _elements(row, self.each) if self.each else []
        if not parts:
            yield self._record(row, None, own_id, "")
            return
        for n, part in enumerate(parts):
            yield self._record(row, part, f"{own_id}:{n}", f":{n}")

    def _record(self, row: Row, part: Any, own_id: str, ending: str) -> bytes | Damage:
        record: dict[str, Any] = {"event_id": own_id} | self.fixed
        for reader in self.readers:
            try:
                value = self._value(reader, row, part)
                if value is not None:
                    record[reader.name] = value
                elif reader.required and reader.name not in record:
                    return self._missing(reader, row, part)
            except ValueError as error:
                reason = "type" if "must be text or" in str(error) or "must be a number" in str(error) else "value"
                where = f"{reader.name} (column {reader.column!r})" if reader.column != reader.name else reader.name
                if reader.required or reader.name == "event_id":
                    return Damage(reason, f"{where}: {error}")
                self.told.costs[f"{where}: {str(error).partition(', got ')[0]}"] += 1
        if ending and record["event_id"] != own_id:
            record["event_id"] += ending
        if record.get("quantity", 0) < 0:
            self._reverse(record)
        return msgspec.json.encode(record)

    def _value(self, reader: Reader, row: Row, part: Any) -> Any:
        for path in reader.paths:
            value = _find(row, part, path)
            if values.is_nobody(value) or (reader.nobody and str(value) in reader.nobody):
                continue
            return reader.convert(value)
        return None

    def _missing(self, reader: Reader, row: Row, part: Any) -> Damage:
        found = next((each for path in reader.paths if (each := _find(row, part, path)) is not None), None)
        where = f"{reader.name} (column {reader.column!r})" if reader.column != reader.name else reader.name
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
            if name in wanted and not any(_is_there(column, names) for column in wanted[name].split("|")):
                found = ", ".join(map(repr, names))
                rule = f"the file must have a column {wanted[name]!r} for {name}, found {found}"
                raise HeadraceError(f"{rule}; --map {name}=COLUMN names another{_or_else(name, names)}")
        return {name: column for name, column in wanted.items() if any(_is_there(c, names) for c in column.split("|"))}

    def _reader(self, name: str, column: str) -> Reader:
        paths = tuple(column.split("|"))
        scoped = {entry.partition("=")[2] for entry in self.mapping.null if entry.partition("=")[0] == name}
        everywhere = {entry for entry in self.mapping.null if entry.partition("=")[0] not in FIELDS}
        required = name in REQUIRED
        return Reader(name, paths, self._convert(name), frozenset(scoped | everywhere), required, column)

    def _convert(self, name: str) -> Convert:
        if name == "ts_ms":
            time, zone = self.mapping.time, self.zone
            return lambda value: _within(values.milliseconds(value, time, zone), FIELDS["ts_ms"])
        if name == "action":
            return self._action
        field = FIELDS[name]
        kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
        if kind == "double":
            return lambda value: _within(values.number(value, self.mapping.decimal), field)
        if kind == "long":
            return lambda value: _whole(values.number(value, self.mapping.decimal), field)
        return lambda value: self._text(value, name, field)

    def _text(self, value: Any, name: str, field: dict[str, Any]) -> str:
        text = values.identifier(value, self.mapping.ids == "int")
        if len(text) > field.get("maxLength", len(text)):
            raise ValueError(f"must have <= {field['maxLength']} characters, got {values.shown(text)}")
        if name in ("user_id", "item_id"):
            self.told.ids[name] += 1
            if text.endswith(".0"):
                self.told.dotted[name] += 1
        return text

    def _action(self, value: Any) -> str:
        text = values.identifier(value)
        action = self.named.get(text.casefold()) or text.casefold()
        if action not in ACTIONS:
            self.told.actions[text] += 1
            meant = synonym(text) or "ACTION"
            known = ", ".join(ACTIONS)
            raise ValueError(
                f"must be one of {known}, got {values.shown(text)}; --action {_quoted(text)}={meant} names it"
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


def synonym(text: str) -> str:
    """Returns which of our actions another program's may be, or an empty text."""
    plain = "".join(character for character in text.casefold() if character.isalnum())
    if plain in ACTIONS:
        return plain
    return next((ours for ours, theirs in SYNONYMS.items() if plain in theirs), "")


def _quoted(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"'{text}'"


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
    return (
        f", --default {name}=VALUE does without" if name else "; --columns names them, below a header that is cut off"
    )


def _within(value: Any, field: dict[str, Any]) -> Any:
    for rule, sign in (("minimum", ">="), ("maximum", "<=")):
        limit = field.get(rule)
        if limit is not None and (value < limit if sign == ">=" else value > limit):
            raise ValueError(f"must be {sign} {limit}, got {value}")
    return value


def _whole(value: float, field: dict[str, Any]) -> int:
    """Returns a whole number; a negative one is judged with its action."""
    if value != int(value):
        raise ValueError(f"must be whole, got {value}")
    _within(abs(int(value)), field)
    return int(value)


def _is_there(column: str, names: list[str]) -> bool:
    top = column.partition(".")[0].removesuffix(EACH)
    return column in names or top in names


def _each(readers: list[Reader]) -> str:
    """Returns the path of the list whose elements are events, or an empty text."""
    lists = {path.partition(EACH)[0] for reader in readers for path in reader.paths if EACH in path}
    if len(lists) > 1:
        raise HeadraceError(f"--map must name one list ({EACH}), got {', '.join(sorted(lists))}")
    return next(iter(lists), "")


def _find(row: Row, part: Any, path: str) -> Any:
    if path in row:
        return row[path]
    if EACH in path:
        rest = path.partition(EACH)[2].removeprefix(".")
        return part if not rest else _at(part, rest)
    return _at(row, path) if "." in path else None


def _elements(row: Row, path: str) -> list[Any]:
    """Returns the elements of a list; text that spells one, as some CSV have it, is one."""
    found = row.get(path, _at(row, path))
    if isinstance(found, str) and found.startswith("["):
        try:
            found = ast.literal_eval(found)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return []
    return found if isinstance(found, list) else []


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
