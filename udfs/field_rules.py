"""The rules of one field of a record: its value from its JSON text, or why it is refused, in words.

A refusal costs no more than a good value of the same size: what is shown of a value is cut, and of a container only its
type and size are shown. The Java of the streaming jobs (udfs/jvm, package headrace.contract) uses the same words.
"""

from math import isinf
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from headrace.schemas import symbols

_PYTHON = {"string": str, "double": float, "boolean": bool}
_LIMITS = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "minLength": "min_length",
    "maxLength": "max_length",
    "maxItems": "max_length",
}
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1  # of a long without limits of its own
_LONG = Annotated[int, msgspec.Meta(ge=_LEAST, le=_MOST)]
_LONG_DIGITS = 20  # a whole number with more characters is no long
_SHOWN = 80  # characters of a refused value in a message
_SECONDS = ", which looks like seconds and should be milliseconds"
_LONG_ITEM = "Expected `int` of 64 bits"
_BEYOND = "must be within float64"
_LITERALS = {b"n": "None", b"t": "True", b"f": "False"}
_KINDS = {"null": "null", "bool": "a boolean", "str": "a string", "array": "an array", "object": "an object"}


class Fault(NamedTuple):
    """Why a record is refused: size, json, missing, type or value (docs/semantics.md), or a reason of the reader."""

    reason: str
    detail: str


class FieldRule:
    """A field of a schema. `type` is what msgspec decodes it to; None is in it if the field is optional."""

    def __init__(self, field: dict[str, Any]) -> None:
        avro_type = field["type"]
        self.name: str = field["name"]
        self.optional = isinstance(avro_type, list)
        avro_type = avro_type[1] if self.optional else avro_type
        self.is_long = avro_type == "long"
        limits = {_LIMITS[key]: limit for key, limit in field.items() if key in _LIMITS}
        if self.is_long:
            limits = ({} if "gt" in limits else {"ge": _LEAST}) | {"le": _MOST} | limits
        python: Any = int if self.is_long else _python(avro_type)
        python = Annotated[python, msgspec.Meta(**limits)] if limits else python
        self.type: Any = python | None if self.optional else python
        self._decode = msgspec.json.Decoder(self.type).decode

    def read(self, part: msgspec.Raw | None) -> tuple[Any, Fault | None]:
        """The value of the field from its JSON text, which is None if the field is absent."""
        if part is None:
            return None, None if self.optional else Fault("missing", f"{self.name}: required, absent")
        text = bytes(part)
        try:
            return self._whole(text) if self.is_long and text[:1] in b"-0123456789" else self._decode(text), None
        except msgspec.ValidationError as error:
            return None, self._fault(text, error)

    def _whole(self, text: bytes) -> Any:
        """A number in a field of whole numbers: 6, 6.0 and 6e0 are 6."""
        if not any(mark in text for mark in b".eE"):
            number = int(text) if len(text) <= _LONG_DIGITS else 1 << 64
            return msgspec.convert(-number if number > _MOST and text[:1] == b"-" else number, self.type)
        real = float(text)
        if isinf(real) or not real.is_integer():
            return self._decode(text)
        return msgspec.convert(int(real), self.type)

    def _fault(self, text: bytes, error: Exception) -> Fault:
        """Puts the decoder's error into our words."""
        message = str(error)
        if message.startswith("Invalid enum value"):  # it repeats the whole value
            return Fault("value", f"{self.name}: Invalid enum value {show(text)}")
        rule, _, path = message.partition(" - at ")
        rule, _, kind = rule.partition(", got ")
        reason = "type" if kind else "value"
        if rule == "Number out of range":
            reason, rule = "json", _BEYOND
        if path:
            if reason == "value":
                rule = _LONG_ITEM
            got = f", got {_KINDS.get(kind.strip('`'), 'a number')}" if kind else ""
            return Fault(reason, f"{self.name}{path.strip('`').removeprefix('$')}: {rule}{got}")
        hint = _SECONDS if self.is_long and self.name.endswith("_ms") and "` >=" in rule and text[:1] != b"-" else ""
        return Fault(reason, f"{self.name}: {rule}, got {show(text)}{hint}")


def _python(avro_type: Any) -> Any:
    if isinstance(avro_type, str):
        return _LONG if avro_type == "long" else _PYTHON[avro_type]
    if avro_type["type"] == "array":
        return list.__class_getitem__(_python(avro_type["items"]))
    if avro_type["type"] == "map":
        return dict.__class_getitem__((str, _python(avro_type["values"])))
    return Literal[tuple(symbols(avro_type))]


def show(text: bytes) -> str:
    """What a message shows of a JSON value."""
    first = text[:1]
    if first in b"{[":
        return f"an {'object' if first == b'{' else 'array'} of {len(text)} bytes"
    if first in _LITERALS:
        return _LITERALS[first]
    shown = str(text, "utf-8")
    return cut(f"'{shown[1:-1]}'" if first == b'"' else shown)


def cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def show_bytes(value: bytes) -> str:
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}... ({len(value)} bytes)"
