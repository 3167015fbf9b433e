"""One validator for everybody who reads or writes records: JSON bytes in, a typed record or a reason out.

It is compiled from schemas/*.avsc. So the tracker, the streaming jobs, the landing job and an API refuse the same
records in the same words.

    >>> click = {"event_id": "e1", "user_id": "", "item_id": "i", "action": "view", "ts_ms": 1767348000000}
    >>> Contract.of("click").check(click)
    Traceback (most recent call last):
    ...
    headrace.udfs.contract.ContractError: user_id: Expected `str` of length >= 1, got ''
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from headrace.schemas import load, symbols

_PYTHON = {"string": str, "long": int, "double": float, "boolean": bool}
_LIMITS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "minLength": "min_length",
    "maxLength": "max_length",
    "maxItems": "max_length",
}
_LONG = {"minimum": -(1 << 63), "maximum": (1 << 63) - 1}  # of a long without limits of its own
MAX_BYTES = 1 << 20  # of a record
_SHOWN = 80  # characters of a refused value in a message
_SECONDS = ", which looks like seconds and should be milliseconds"


class Fault(NamedTuple):
    """Why a record is refused: size, json, missing, type or value (docs/semantics.md), or a reason of the reader."""

    reason: str
    detail: str


class ContractError(ValueError):
    """A record breaks a rule of its schema; `fault` says which."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Contract:
    """The compiled rules of one schema."""

    def __init__(self, name: str) -> None:
        fields = load(name)["fields"]
        # gc=False: a batch is tens of thousands of flat records, which the collector would walk for nothing.
        self.record = msgspec.defstruct(name.capitalize(), [_field(f) for f in fields], gc=False, kw_only=True)
        self.fields = tuple(f["name"] for f in fields)
        self._known = frozenset(self.fields)
        self._whole = [f["name"] for f in fields if _is_long(f)]
        self._decode = msgspec.json.Decoder(self.record).decode

    @staticmethod
    @cache
    def of(name: str) -> "Contract":
        """The contract of schemas/{name}.avsc, compiled once per process."""
        return Contract(name)

    def columns(self, values: Iterable[bytes | None]) -> tuple[list[tuple[Any, ...]], list[Fault | None]]:
        """Decodes and checks n values: one tuple of n per field, in the schema's order, and n faults.

        A refused value has a fault and None in every field.
        """
        decode, nothing = self._decode, (None,) * len(self.fields)
        rows: list[tuple[Any, ...]] = []
        faults: list[Fault | None] = []
        for value in values:
            try:
                if len(value or b"") > MAX_BYTES:
                    raise ValueError
                # str() first: the decoder does not check the strings that it skips, and they must be UTF-8 too.
                rows.append(msgspec.structs.astuple(decode(str(value, "utf-8"))))  # type: ignore[arg-type]
                faults.append(None)
            except (TypeError, ValueError, RecursionError):  # nested too deeply: a bad record
                row, fault = self._second_reading(value)
                rows.append(row or nothing)
                faults.append(fault)
        return list(zip(*rows, strict=True)) or [()] * len(self.fields), faults

    def check(self, record: dict[str, Any]) -> bytes:
        """The record as JSON bytes, without its absent fields. Raises ContractError if it breaks a rule."""
        unknown = record.keys() - self._known
        if unknown:
            raise ContractError(Fault("value", f"{min(unknown)}: no such field, got {_show(record[min(unknown)])}"))
        try:
            value = msgspec.json.encode({k: v for k, v in record.items() if v is not None})
        except (TypeError, ValueError) as error:
            raise ContractError(Fault("json", str(error))) from None
        columns, (fault,) = self.columns([value])
        if fault:
            raise ContractError(fault)
        for name, (sent,) in zip(self.fields, columns, strict=True):
            if sent is None and record.get(name) is not None:  # JSON has no NaN: it was written as null
                raise ContractError(Fault("value", f"{name}: must be finite, got {_show(record[name])}"))
        return value

    def _second_reading(self, value: bytes | None) -> tuple[tuple[Any, ...] | None, Fault | None]:
        """The row, or the fault, of a value that the decoder refused. It is slow, and rarely runs.

        JSON is read without the schema first. So broken JSON is told before a broken rule, the last of two fields with
        one name counts, and a whole float is taken for the whole number that it is.
        """
        if value is None:
            return None, Fault("json", "the record has no value")
        if len(value) > MAX_BYTES:
            return None, Fault("size", f"the record: must be <= {MAX_BYTES} bytes, got {len(value)}")
        try:
            record = msgspec.json.decode(str(value, "utf-8"))
        except (ValueError, RecursionError) as malformed:
            return None, Fault("json", f"{malformed}, got {_show(value)}")
        if isinstance(record, dict):
            record |= {name: int(record[name]) for name in self._whole if _is_whole_float(record.get(name))}
        try:
            return msgspec.structs.astuple(msgspec.convert(record, self.record)), None
        except msgspec.ValidationError as error:
            return None, _fault(record, error)


def _is_whole_float(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _is_long(field: dict[str, Any]) -> bool:
    return field["type"] in ("long", ["null", "long"])


def _field(field: dict[str, Any]) -> Any:
    avro_type = field["type"]
    optional = isinstance(avro_type, list)
    python: Any = _python(avro_type[1] if optional else avro_type)
    limits = {_LIMITS[k]: v for k, v in ((_LONG if _is_long(field) else {}) | field).items() if k in _LIMITS}
    if limits:
        python = Annotated[python, msgspec.Meta(**limits)]
    return (field["name"], python | None, None) if optional else (field["name"], python)


def _python(avro_type: Any) -> Any:
    if isinstance(avro_type, str):
        return _PYTHON[avro_type]
    if avro_type["type"] == "array":
        return list.__class_getitem__(_PYTHON[avro_type["items"]])
    if avro_type["type"] == "map":
        return dict.__class_getitem__((str, _PYTHON[avro_type["values"]]))
    return Literal[tuple(symbols(avro_type))]


def _fault(record: Any, error: Exception) -> Fault:
    """Puts the decoder's error into our words."""
    rule, _, path = str(error).partition(" - at ")
    missing = re.search(r"missing required field `(\w+)`", rule)
    if missing:
        return Fault("missing", f"{missing[1]}: required, absent")
    if not path:
        return Fault("type", rule)
    reason = "type" if re.search(r", got `\w+`$", rule) else "value"
    field = path.strip("`").removeprefix("$.")
    got = _at(record, field)
    hint = _SECONDS if field.endswith("_ms") and "` >=" in rule and got >= 0 else ""
    return Fault(reason, f"{field}: {rule.partition(', got')[0]}, got {_show(got)}{hint}")


def _at(record: Any, path: str) -> Any:
    return record.get(path.partition("[")[0]) if isinstance(record, dict) else record


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
