"""One validator for everybody who reads or writes records: JSON bytes in, a typed record or a reason out.

It is compiled from schemas/*.avsc. So the tracker, the landing job and an API refuse the same records in the same
words. The streaming jobs do so by their format in Java (docs/flink-contract.md), which a test compares with this one.

    >>> click = {"event_id": "e1", "user_id": "", "item_id": "i", "action": "view", "ts_ms": 1767348000000}
    >>> Contract.of("click").check(click)
    Traceback (most recent call last):
    ...
    headrace.udfs.contract.ContractError: user_id: Expected `str` of length >= 1, got ''
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
import numpy as np

from headrace.schemas import Schema, load
from headrace.udfs.field_rules import Fault, FieldRule, cut, show, show_bytes

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Contract", "ContractError", "Fault"]

MAX_BYTES = 1 << 20  # of a record
MAX_DEPTH = 500  # of arrays and objects around a value; half of Python's stack, and the caller has the other half
_SHORT = 2 * MAX_DEPTH  # bytes of a record that cannot be nested deeper
_ANYTHING = msgspec.json.Decoder(msgspec.Raw).decode


class ContractError(ValueError):
    """A record breaks a rule of its schema; `fault` says which."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


class Contract:
    """The compiled rules of one schema, a record of the kind in schemas/."""

    def __init__(self, schema: Schema) -> None:
        self._rules = [FieldRule(field) for field in schema["fields"]]
        self.fields = tuple(rule.name for rule in self._rules)
        self._known = frozenset(self.fields)
        typed = [(r.name, r.type, None) if r.optional else (r.name, r.type) for r in self._rules]
        # gc=False: a batch is tens of thousands of flat records, which the collector would walk for nothing.
        self.record = msgspec.defstruct(schema["name"], typed, gc=False, kw_only=True)
        self._decode = msgspec.json.Decoder(self.record).decode
        parts = msgspec.defstruct("Parts", [(rule.name, msgspec.Raw, None) for rule in self._rules])
        self._parts = msgspec.json.Decoder(parts).decode

    @staticmethod
    @cache
    def of(name: str) -> "Contract":
        """The contract of schemas/{name}.avsc, compiled once per process."""
        return Contract(load(name))

    def columns(self, values: Iterable[bytes | None]) -> tuple[list[tuple[Any, ...]], list[Fault | None]]:
        """Decodes and checks n values: one tuple of n per field, in the schema's order, and n faults.

        A refused value has a fault and None in every field. No value raises.
        """
        decode, nothing = self._decode, (None,) * len(self.fields)
        rows: list[tuple[Any, ...]] = []
        faults: list[Fault | None] = []
        for value in values:
            try:
                if len(value or b"") > _SHORT and _is_too_much(value or b""):
                    raise ValueError
                # str() first: the decoder does not check the strings that it skips, and they must be UTF-8 too.
                rows.append(msgspec.structs.astuple(decode(str(value, "utf-8"))))  # type: ignore[arg-type]
                faults.append(None)
            except (TypeError, ValueError, RecursionError):
                row, fault = self._second_reading(value)
                rows.append(nothing if fault else row)
                faults.append(fault)
        return list(zip(*rows, strict=True)) or [()] * len(self.fields), faults

    def check(self, record: dict[str, Any]) -> bytes:
        """The record as JSON bytes, without its absent fields. Raises ContractError if it breaks a rule."""
        unknown = record.keys() - self._known
        if unknown:
            name = min(unknown)
            raise ContractError(Fault("value", f"{cut(name)}: no such field, got {_show_object(record[name])}"))
        try:
            value = msgspec.json.encode({k: v for k, v in record.items() if v is not None})
        except (TypeError, ValueError, RecursionError) as error:
            raise ContractError(Fault("json", cut(str(error)))) from None
        columns, (fault,) = self.columns([value])
        if fault:
            raise ContractError(fault)
        for name, (sent,) in zip(self.fields, columns, strict=True):
            if sent is None and record.get(name) is not None:  # JSON has no NaN: it was written as null
                raise ContractError(Fault("value", f"{name}: must be finite, got {_show_object(record[name])}"))
        return value

    def _second_reading(self, value: bytes | None) -> tuple[tuple[Any, ...], Fault | None]:
        """The row, or the fault, of a value that the decoder refused. It rarely runs.

        The value is read without the schema first, and then field by field in the schema's order. So broken JSON is
        told before a broken rule, the last of two fields with one name counts, and a whole float is taken for the whole
        number that it is.
        """
        if value is None:
            return (), Fault("json", "the record has no value")
        if len(value) > MAX_BYTES:
            return (), Fault("size", f"the record: must be <= {MAX_BYTES} bytes, got {len(value)}")
        try:
            text = str(value, "utf-8")
            whole = _ANYTHING(text)
            if len(value) > _SHORT and _is_too_much(value):
                raise RecursionError
            parts = self._parts(text)
        except msgspec.ValidationError:
            return (), Fault("type", f"the record: Expected `object`, got {show(bytes(whole))}")
        except (ValueError, RecursionError) as malformed:
            what = f"JSON is nested more than {MAX_DEPTH} deep" if isinstance(malformed, RecursionError) else malformed
            return (), Fault("json", f"{what}, got {show_bytes(value)}")
        row = []
        for rule in self._rules:
            read, fault = rule.read(getattr(parts, rule.name))
            if fault:
                return (), fault
            row.append(read)
        return tuple(row), None


def _is_too_much(value: bytes) -> bool:
    """Whether a value is too large, or nested too deeply. What is no JSON may be either."""
    if len(value) > MAX_BYTES:
        return True
    return value.count(b"[") + value.count(b"{") > MAX_DEPTH < _depth(value)


def _depth(value: bytes) -> int:
    """How deeply a JSON value is nested."""
    byte = np.frombuffer(value.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    outside = np.cumsum(byte == ord('"'), dtype=np.int32) % 2 == 0  # of every string
    bracket = byte | 0x20  # [ and {, ] and } differ in this bit alone
    steps = (bracket == ord("{")).astype(np.int8) - (bracket == ord("}"))
    return int(np.cumsum(np.where(outside, steps, 0), dtype=np.int32).max(initial=0))


def _show_object(value: Any) -> str:
    if isinstance(value, str):
        return repr(cut(value))
    return repr(value) if isinstance(value, float | bool | None) else f"a value of type {type(value).__name__}"
