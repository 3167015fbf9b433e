"""Cells as a person reads them, and the borders of what is taken."""

from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from headrace.infra.files import values
from headrace.infra.files.values import identifier, is_nobody, milliseconds, number, zone_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12), ("12.99", 12.99), ("12,99", 12.99), ("1,245", 1245), ("1,234.50", 1234.5), ("1.234,50", 1234.5),
        ("$7.25", 7.25), ("€ 12", 12), ("12,50 EUR", 12.5), ("-3", -3), ("1.234.567", 1_234_567), ("1e3", 1000),
        ("$.99", 0.99), ("Rs.500", 500), ("-$5", -5), ("\u22125", -5), ("1 234 567,5", 1_234_567.5),
        ("1'234.50", 1234.5), ("£1,000,000", 1_000_000), (" 5 ", 5), ("0,5", 0.5), (7, 7), (Decimal("1.5"), 1.5),
    ],
)  # fmt: skip
def test_numbers(text: Any, expected: float) -> None:
    assert number(text) == expected


@pytest.mark.parametrize("text", ["1/2", "12:50", "2 x 5", "5 EUR 3", "1e5 EUR", "0x10", "1,2,3"])
def test_digits_are_not_glued_together(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        number(text)


@pytest.mark.parametrize(
    ("text", "decimal"), [("12.99", ","), ("0.1255", ","), ("1,299.00", ","), ("12,5", "."), ("1.299,00", ".")]
)
def test_a_mark_that_contradicts_the_said_one_is_refused(text: str, decimal: str) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        number(text, decimal)


@pytest.mark.parametrize("text", ["N/A", "PG-13 film", "inf", "nan", "", "1.2.3,4,5", True, None, "twelve", "12-13"])
def test_what_is_no_number(text: Any) -> None:
    with pytest.raises(ValueError, match=r"must be (a number|finite), got"):
        number(text)


def test_the_decimal_mark_can_be_said() -> None:
    assert number("1,245", ",") == 1.245
    assert number("1.245", ",") == 1245
    assert number("1,245", ".") == 1245


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0017", "0017"), ("17850.0", "17850.0"), (17850.0, "17850"), (811, "811"), (1e22, str(10**22)), (1.5, "1.5"),
     (" a ", " a "), (Decimal("12.00"), "12"), (2**64, str(2**64))],
)  # fmt: skip
def test_ids(value: Any, expected: str) -> None:
    assert identifier(value) == expected


def test_ids_of_floats() -> None:
    assert [identifier(text, whole=True) for text in ("17850.0", "12.00", "12.5", "0017", "a.0", "-7.0")] == [
        "17850", "12", "12.5", "0017", "a.0", "-7",
    ]  # fmt: skip
    for value in (True, {"a": 1}, [1], b"\xff", float("inf"), Decimal("Infinity")):
        with pytest.raises(ValueError, match="must be text or a number"):
            identifier(value)


@pytest.mark.parametrize(
    "value", ["", " ", "NULL", "null", "\\N", "nan", "None", "undefined", "(not set)", "N/A", None]
)
def test_nobody(value: Any) -> None:
    assert is_nobody(value)


@pytest.mark.parametrize("value", ["0", "anonymous", "nano", "nullable", 0, 0.0, "x" * 300])
def test_somebody(value: Any) -> None:
    assert not is_nobody(value)


AT = 1_767_348_000_000  # 2026-01-02T10:00:00Z


@pytest.mark.parametrize(
    ("value", "time", "expected"),
    [
        (1_767_348_000, "s", AT), ("1767348000", "s", AT), (1_767_348_000.5, "s", AT + 500), (AT, "ms", AT),
        (AT * 1000 + 1, "us", AT), (AT * 1_000_000, "ns", AT), ("2026-01-02T10:00:00Z", "iso", AT),
        ("2026-01-02 10:00:00 UTC", "iso", AT), ("2026-01-02T11:00:00+01:00", "iso", AT),
        ("2026-01-02 10:00", "iso", AT),
        ("20260102", "iso", AT - 36_000_000), ("2/1/2026 10:00", "%d/%m/%Y %H:%M", AT),
        ("2026-01-02 11:00:00 Europe/Amsterdam", "%Y-%m-%d %H:%M:%S %Z", AT),
        ("01 02, 2026", "%m %d, %Y", AT - 36_000_000),
        (100_000_000_000, "ms", 100_000_000_000),
    ],
)  # fmt: skip
def test_times(value: Any, time: str, expected: int) -> None:
    assert milliseconds(value, time) == expected


@pytest.mark.parametrize(
    ("value", "time", "said"),
    [
        (1_767_348_000, "iso", "--time s reads it as 2026-01-02T10:00:00Z"),
        ("1767348000000", "iso", "--time ms reads it as 2026-01-02T10:00:00Z"),
        (AT * 1000, "iso", "--time us reads it as 2026-01-02T10:00:00Z"),
        (AT * 1_000_000, "iso", "--time ns reads it as"),
        (99_999_999_999, "ms", "must be >= 100000000000 by --time ms"),
        ("yesterday", "iso", "--time '%d/%m/%Y %H:%M' and the like say another form"),
        ("2026-01-02", "s", "--time iso reads dates"),
        (True, "ms", "must be a number"),
        ("12:00 CEST", "%H:%M %Z", "the zone must be a name such as Europe/Amsterdam, got 'CEST'"),
    ],
)
def test_times_that_are_refused_say_what_to_type(value: Any, time: str, said: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        milliseconds(value, time)
    assert said in str(caught.value)


def test_zones() -> None:
    assert milliseconds("2026-07-02 12:00", "iso", zone_of("Europe/Amsterdam")) == AT + 181 * 86_400_000
    assert zone_of("utc") is UTC
    with pytest.raises(ValueError, match="the zone must be a name"):
        zone_of("Nowhere/Here")


def test_what_is_long_is_shown_short() -> None:
    assert values.shown("x" * 200).endswith("... (202 characters)")
