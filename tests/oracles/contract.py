"""The rules of schemas/*.avsc, judged one record at a time: the independent half of the oracle that reads bytes.

JSON is RFC 8259 in UTF-8: NaN, Infinity, a byte order mark and lone surrogates are no JSON. An integer field takes 1.0
as 1 and no 1.5, a real field takes integers, and neither takes true. A number beyond float64 is no JSON in a field of
the schema; but an integer in an integer field breaks a bound. Nothing is nested more than 500 deep.
"""

import json
import re
from itertools import accumulate
from math import isinf
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALUE_MAX_BYTES = 1024 * 1024
DEPTH = 500  # arrays and objects around a value
HUGE = 10**400  # stands for any integer of absurd length: outside every bound


class Contract:
    """The rules of one schema, read from its .avsc, and the reasons why a record breaks them."""

    def __init__(self, name: str) -> None:
        self.fields = json.loads((SCHEMAS / f"{name}.avsc").read_text())["fields"]

    def check(self, raw: bytes | None) -> tuple[dict[str, Any], str]:
        """Returns the record, {} if it is none, and the reasons why it is refused, joined by |."""
        if raw is not None and len(raw) > VALUE_MAX_BYTES:
            return {}, "size"
        try:
            record = parse(raw)
        except (ValueError, RecursionError):
            return {}, "json"
        if not isinstance(record, dict):
            return {}, "type"
        record |= {f["name"]: whole(record[f["name"]]) for f in self.fields if is_long(f) and f["name"] in record}
        reasons = dict.fromkeys(r for f in self.fields if (r := broken_rule(f, record)))
        return record, "|".join(reasons)


def is_long(rule: dict[str, Any]) -> bool:
    return rule["type"] in ("long", ["null", "long"])


def whole(value: Any) -> Any:
    """Returns a float without a fraction as the integer that it is, and anything else as it came."""
    return int(value) if type(value) is float and not isinf(value) and value % 1 == 0 else value


def parse(raw: bytes | None) -> Any:
    if raw is None:
        message = "a tombstone is no JSON"
        raise ValueError(message)
    if depth(raw) > DEPTH:
        message = "nested too deeply"
        raise ValueError(message)
    record = json.loads(raw.decode("utf-8"), parse_constant=refuse_constant, parse_int=parse_int)
    if b"\\u" in raw:
        json.dumps(record, ensure_ascii=False).encode("utf-8")  # an escaped lone surrogate is no UTF-8
    return record


def depth(raw: bytes) -> int:
    """How deeply JSON is nested; anything of what is no JSON."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH:
        return 0
    without_strings = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw, flags=re.DOTALL)
    return max(accumulate(1 if c in b"[{" else -1 if c in b"]}" else 0 for c in without_strings))


def refuse_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise ValueError(message)


def parse_int(digits: str) -> int:
    return int(digits) if len(digits) < 400 else HUGE * (-1 if digits[0] == "-" else 1)


def is_beyond(value: Any) -> bool:
    """Whether a number is beyond float64."""
    try:
        return isinstance(value, int | float) and isinf(float(value))
    except OverflowError:
        return True


def broken_rule(rule: dict[str, Any], record: dict[str, Any]) -> str:
    kind: Any = rule["type"]
    value: Any = record.get(rule["name"])
    if isinstance(kind, list):
        if value is None:
            return ""
        kind = kind[1]
    elif rule["name"] not in record:
        return "missing"
    if is_beyond(value) and (kind != "long" or isinstance(value, float)):
        return "json"
    if isinstance(kind, dict):
        return "type" if type(value) is not str else "" if value in kind["symbols"] else "value"
    if type(value) not in {"string": (str,), "long": (int,), "double": (int, float)}[kind]:
        return "type"
    size = len(value) if kind == "string" else value
    low, high = ("minLength", "maxLength") if kind == "string" else ("minimum", "maximum")
    return "" if rule.get(low, size) <= size <= rule.get(high, size) else "value"
