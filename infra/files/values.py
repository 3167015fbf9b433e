"""Cells -> ids, numbers and times, as a person reads them. What does not fit raises ValueError with the rule."""

import math
import re
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from headrace.schemas import load

# What programs write where there is nobody, in lower case. `0` and `anonymous` may be ids, so they are not here.
NOBODY = frozenset(
    {
        "", "-", "null", "(null)", "\\n", "nan", "nat", "none", "(none)", "nil", "na", "n/a", "#n/a", "<na>",
        "undefined", "[object object]", "(not set)", "not set", "00000000-0000-0000-0000-000000000000",
    }
)  # fmt: skip
FIRST = frozenset(" \t\r\n\xa0") | {first for text in NOBODY if text for first in (text[0], text[0].upper())}
LONGEST = 40  # characters, with blanks around
UNITS_MS = {"s": 1_000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
# A time in milliseconds is above it since March 1973.
SECONDS_BELOW = int(next(field["minimum"] for field in load("click")["fields"] if field["name"] == "ts_ms"))
PRICE = re.compile(r"(?P<before>[^\d(]*?)(?P<digits>[.,]?\d(?:[\d.,' \xa0\u202f]*\d)?)(?P<after>[^\d)-]*)")
GROUPED = re.compile(r"(?<=\d)[' \xa0\u202f](?=\d{3}(?!\d))")
THOUSANDS = re.compile(r"\d{1,3}([.,]\d{2,3})*[.,]\d{3}")
LETTERS = 4  # of a currency
WHOLE = re.compile(r"[+-]?\d+\.0+")
WORD = re.compile(r"[A-Za-z][A-Za-z_/+-]*[A-Za-z]|Z")
UTC_ENDS = re.compile(r" ?(UTC|GMT)$")
SHOWN = 80


def is_nobody(value: Any) -> bool:
    """Returns whether a cell stands for no value."""
    if isinstance(value, str):
        return not value or (value[0] in FIRST and len(value) <= LONGEST and value.strip().casefold() in NOBODY)
    return value is None or (isinstance(value, float | Decimal) and math.isnan(value))


def identifier(value: Any, whole: bool = False) -> str:
    """Returns an id as text. Text stays as it stands; a number that is whole has no `.0`, with `whole` in text too."""
    if isinstance(value, str):
        return value.partition(".")[0] if whole and WHOLE.fullmatch(value) else value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | UUID):
        raise ValueError(f"must be text or a number, got {shown(value)}")
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise ValueError(f"must be text or a number, got {shown(value)}")
        if value == int(value):
            return str(int(value))
    return str(value)


def number(value: Any, decimal: str = "") -> float:
    """Returns a number: of `1,245`, `12,99`, `$7.25`, `1.234,50 EUR`. decimal: the mark, where it cannot be told."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"must be a number, got {shown(value)}")
    try:
        found = float(_plain(value, decimal)) if isinstance(value, str) else float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"must be finite, got {shown(value)}")
    return found


def _plain(text: str, decimal: str) -> str:
    """Returns a number as Python writes it. Digits may stand in groups; a currency may stand around them."""
    if decimal != "," and looks_like_a_number(text):
        return text
    found = PRICE.fullmatch(text.strip().replace("\u2212", "-"))
    if found is None or sum(character.isalpha() for character in found["before"] + found["after"]) > LETTERS:
        raise ValueError(f"must be a number, got {shown(text)}")
    before, digits = found["before"], GROUPED.sub("", found["digits"])
    if before[-1:].isalpha():  # Rs.500
        digits = digits.lstrip(".,")
    mark = decimal or _mark(digits)
    other = "," if mark == "." else "."
    whole, _, rest = digits.partition(mark)
    plain = whole.replace(other, "")
    if (other in whole and not THOUSANDS.fullmatch(whole)) or not (plain + rest).isdigit():
        raise ValueError(f"must be a number, got {shown(text)}")
    return f"{'-' if '-' in before else ''}{plain or '0'}.{rest or '0'}"


def _mark(text: str) -> str:
    """Returns the decimal mark: the last of two kinds; one kind in groups of three digits is no mark."""
    if "," in text and "." in text:
        return max(",.", key=text.rfind)
    if "," in text:
        return "." if THOUSANDS.fullmatch(text) else ","
    return "," if text.count(".") > 1 else "."


def milliseconds(value: Any, time: str, zone: tzinfo = UTC) -> int:
    """Returns a time in milliseconds since 1970. time: s, ms, us, ns, iso, or a format of strptime.

    zone: of a time that names none. A number is a time only if `time` says its unit.
    """
    if time in UNITS_MS:
        return _of_number(value, time)
    if isinstance(value, datetime):
        return _since_1970(value, zone)
    if isinstance(value, date):
        return _since_1970(datetime(value.year, value.month, value.day), zone)  # noqa: DTZ001  # it is the zone's
    # 20260102 is a day, not a number.
    if not isinstance(value, str) or (time == "iso" and len(value.strip()) != 8 and looks_like_a_number(value)):
        raise ValueError(f"must be a time by --time {time}, got {shown(value)}{unit_hint(value)}")
    try:
        return _since_1970(_iso(value) if time == "iso" else _formatted(value, time), zone)
    except (ValueError, OverflowError, re.error) as error:
        day, hint = "%d.%m.%Y" if "." in value else "%d/%m/%Y", ""
        if str(error).startswith("the zone"):
            hint = f"; {error}"
        elif time == "iso":
            hint = f"; --time '{day} %H:%M' and the like say another form"
        raise ValueError(f"must be a time by --time {time}, got {shown(value)}{hint}") from None


def _of_number(value: Any, unit: str) -> int:
    if unit in ("ms", "s") and (type(value) is int or (type(value) is str and value.isascii() and value.isdigit())):
        found = int(value) * (1000 if unit == "s" else 1)
        if found >= SECONDS_BELOW or unit == "s":
            return found
    try:
        if isinstance(value, bool | datetime | date):
            raise TypeError
        count = int(value) if isinstance(value, int) or str(value).strip().lstrip("+-").isdigit() else float(value)
        scale = UNITS_MS[unit]
        found = round(count * scale) if scale >= 1 else round(count / (1 / scale))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"must be a number by --time {unit}, got {shown(value)}; --time iso reads dates") from None
    if unit == "ms" and 0 <= found < SECONDS_BELOW:
        raise ValueError(f"must be >= {SECONDS_BELOW} by --time ms, got {shown(value)}{unit_hint(value)}")
    return found


def looks_like_a_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def unit_hint(value: Any) -> str:
    """Returns what to type for a number: the unit in which it is a time of our days."""
    try:
        count = abs(float(value))
    except (TypeError, ValueError, OverflowError):
        return ""
    unit = next((unit for unit, scale in UNITS_MS.items() if SECONDS_BELOW <= count * scale < 1e13), "")
    if not unit:
        return ""
    moment = datetime.fromtimestamp(count * UNITS_MS[unit] / 1000, UTC)
    return f"; --time {unit} reads it as {moment:%Y-%m-%dT%H:%M:%SZ}"


def _since_1970(moment: datetime, zone: tzinfo) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return round(aware.timestamp() * 1000)


@lru_cache(1 << 14)
def _iso(text: str) -> datetime:
    """Reads ISO 8601, also with ` UTC` at its end."""
    return datetime.fromisoformat(UTC_ENDS.sub("+00:00", text.strip().upper()))


@lru_cache(1 << 14)
def _formatted(text: str, form: str) -> datetime:
    """Reads a time by strptime. Its %Z would take the names of this machine's zone; ours takes UTC, GMT and places."""
    if "%Z" not in form:
        return datetime.strptime(text.strip(), form)  # noqa: DTZ007  # the caller knows the zone
    for word in WORD.finditer(text):
        rest = f"{text[: word.start()]}UTC{text[word.end() :]}"
        try:
            naive = datetime.strptime(rest.strip(), form).replace(tzinfo=None)  # noqa: DTZ007
        except ValueError:
            continue
        return naive.replace(tzinfo=UTC if word[0] == "Z" else zone_of(word[0]))
    raise ValueError(text)


def zone_of(name: str) -> tzinfo:
    """Returns a zone by its name, such as Europe/Amsterdam. Raises ValueError for a name that is none."""
    if name.upper() in ("UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"the zone must be a name such as Europe/Amsterdam, got {shown(name)}") from None


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
