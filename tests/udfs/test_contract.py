"""The validator: what it accepts, what it refuses, and in which words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.udfs.contract import Contract, ContractError, Fault
from tests.oracles import contract as oracle

CLICK = Contract.of("click")
T0 = 1_767_348_000_000  # 2026-01-02 10:00 UTC
GOOD: dict[str, Any] = {"event_id": "e1", "user_id": "u", "item_id": "i", "action": "view", "ts_ms": T0}
SECONDS = ", which looks like seconds and should be milliseconds"


def fault(**change: Any) -> Fault | None:
    return CLICK.columns([json.dumps(GOOD | change).encode()])[1][0]


def raw_fault(value: bytes | None) -> Fault | None:
    return CLICK.columns([value])[1][0]


def test_good_and_bad_records_keep_their_places() -> None:
    good = json.dumps(GOOD).encode()
    columns, faults = CLICK.columns([good, b"{", good])
    assert dict(zip(CLICK.fields, columns, strict=True))["ts_ms"] == (T0, None, T0)
    assert [f and f.reason for f in faults] == [None, "json", None]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"ts_ms": T0 + 0.5}, "type", f"ts_ms: Expected `int`, got {T0}.5"),
        ({"ts_ms": [1.0]}, "type", "ts_ms: Expected `int`, got an array of 5 bytes"),
        ({"quantity": 6.5}, "type", "quantity: Expected `int | null`, got 6.5"),
        ({"quantity": "6.0"}, "type", "quantity: Expected `int | null`, got '6.0'"),
        ({"quantity": 1e300}, "value", "quantity: Expected `int` <= 1000000, got 1e+300"),
        ({"ts_ms": "5"}, "type", "ts_ms: Expected `int`, got '5'"),
        ({"ts_ms": True}, "type", "ts_ms: Expected `int`, got True"),
        ({"ts_ms": -1}, "value", "ts_ms: Expected `int` >= 100000000000, got -1"),
        ({"ts_ms": 2**80}, "value", f"ts_ms: Expected `int` <= 253402300799999, got {2**80}"),
        ({"user_id": ""}, "value", "user_id: Expected `str` of length >= 1, got ''"),
        ({"user_id": None}, "type", "user_id: Expected `str`, got None"),
        ({"action": "zap"}, "value", "action: Invalid enum value 'zap'"),
        ({"price": -0.5}, "value", "price: Expected `float` >= 0.0, got -0.5"),
        ({"price": True}, "type", "price: Expected `float | null`, got True"),
        ({"session_id": "x" * 129}, "value", "session_id: Expected `str` of length <= 128, got 'xxx"),
    ],
)
def test_a_fault_names_field_rule_and_value(change: dict[str, Any], reason: str, detail: str) -> None:
    found = fault(**change)
    assert found is not None
    assert found.reason == reason
    assert found.detail.startswith(detail)


@pytest.mark.parametrize("seconds", [0, T0 // 1000, T0 / 1000, 99_999_999_999])
def test_a_time_in_seconds_is_refused_and_told_to_be_one(seconds: float) -> None:
    expected = f"ts_ms: Expected `int` >= 100000000000, got {seconds}{SECONDS}"
    assert fault(ts_ms=seconds) == Fault("value", expected)
    assert fault(ts_ms=100_000_000_000) is None
    found = fault(ts_ms=-1)
    assert found is not None
    assert "seconds" not in found.detail


def test_a_whole_float_is_a_whole_number() -> None:
    value = json.dumps(GOOD | {"ts_ms": float(T0), "quantity": 6.0, "session_position": -0.0, "price": 3}).encode()
    columns, faults = CLICK.columns([value])
    read = {name: column[0] for name, column in zip(CLICK.fields, columns, strict=True)}
    assert faults == [None]
    assert [read[name] for name in ("ts_ms", "quantity", "session_position", "price")] == [T0, 6, 0, 3.0]
    assert [type(read[name]) for name in ("ts_ms", "quantity", "price")] == [int, int, float]
    assert CLICK.check(GOOD | {"quantity": 6.0}) == CLICK.check(GOOD)[:-1] + b',"quantity":6.0}'


def test_a_long_without_a_limit_has_64_bits() -> None:
    receipt = {"round": 1, "node": "n", "chunks": 1, "as_of_ms": 2**63 - 1}
    assert Contract.of("receipt").check(receipt)
    for beyond in (2**63, 1e300, 10**400):
        (found,) = Contract.of("receipt").columns([json.dumps(receipt | {"as_of_ms": beyond}).encode()])[1]
        assert found is not None
        assert (found.reason, found.detail[:46]) == ("value", "as_of_ms: Expected `int` <= 922337203685477580")


def test_of_two_fields_with_one_name_the_last_counts() -> None:
    good = json.dumps(GOOD).encode()
    assert raw_fault(b'{"event_id": 7, ' + good[1:]) is None
    assert raw_fault(good[:-1] + b', "event_id": 7}') == Fault("type", "event_id: Expected `str`, got 7")


def test_a_missing_field() -> None:
    value = json.dumps({k: v for k, v in GOOD.items() if k != "item_id"}).encode()
    assert raw_fault(value) == Fault("missing", "item_id: required, absent")


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        json.dumps(GOOD).encode() + b"x",
        json.dumps(GOOD).encode()[:-1] + b', "other": "\xff"}',
        json.dumps(GOOD).encode()[:-1] + b', "other": NaN}',
        json.dumps(GOOD | {"query": "\ud800"}).encode(),
    ],
)
def test_what_is_not_json_in_utf8(value: bytes | None) -> None:
    found = raw_fault(value)
    assert found is not None
    assert found.reason == "json"
    assert len(found.detail) < 300


@pytest.mark.parametrize("value", [b"null", b"[]", b"3", b'"x"'])
def test_json_that_is_no_record(value: bytes) -> None:
    found = raw_fault(value)
    assert found is not None
    assert found.reason == "type"


def test_a_refusal_names_the_first_field_of_the_schema_that_is_wrong() -> None:
    assert raw_fault(b'{"price": -1, "ts_ms": 1, "event_id": "e", "item_id": ""}') == Fault(
        "missing", "user_id: required, absent"
    )
    assert raw_fault(b'{"price": -1, "item_id": "", "user_id": "u", "event_id": "e"}') == Fault(
        "value", "item_id: Expected `str` of length >= 1, got ''"
    )


def test_a_long_value_is_cut_in_the_message() -> None:
    found = fault(query="x" * 1_000_000)
    assert found is not None
    assert len(found.detail) < 200
    assert "(1000002 characters)" in found.detail


def test_unknown_fields_pass_and_null_means_absent() -> None:
    assert fault(colour={"deep": [1, 2]}) is None
    assert fault(price=None) is None
    assert fault(price=5) is None


def test_check_refuses_before_anything_is_sent() -> None:
    with pytest.raises(ContractError, match="action: Invalid enum value 'zap'"):
        CLICK.check(GOOD | {"action": "zap"})
    with pytest.raises(ContractError, match="colour: no such field, got 'red'"):
        CLICK.check(GOOD | {"colour": "red"})
    with pytest.raises(ContractError, match="price: must be finite, got nan"):
        CLICK.check(GOOD | {"price": float("nan")})
    assert CLICK.check(GOOD | {"price": None}) == json.dumps(GOOD, separators=(",", ":")).encode()


def test_arrays_and_open_limits() -> None:
    impression = Contract.of("impression")
    record = {
        "impression_id": "i",
        "user_id": "u",
        "surface": "s",
        "item_id": "a",
        "position": 0,
        "policy": "p",
        "model_version": "m",
        "context": [1, 0.5],
        "propensity": 1.0,
        "ts_ms": T0,
    }
    impression.check(record)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"propensity": 0}, "propensity"),
        ({"context": [1, "x"]}, r"context\[1\]"),
    ]
    for change, said in refused:
        with pytest.raises(ContractError, match=said):
            impression.check(record | change)


JSON = st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists).map(lambda x: json.dumps(x).encode())


@given(st.binary(max_size=200) | JSON)
def test_any_bytes_give_a_record_or_a_fault(value: bytes) -> None:
    columns, faults = CLICK.columns([value])
    assert (faults[0] is None) == (columns[0][0] is not None)


BORDERS = [0, 99_999_999_999, 10**11, T0, 253402300799999, 253402300800000, 2**63, 2**64, 10**40]
NUMBERS = st.sampled_from([*BORDERS, *map(float, BORDERS)]) | st.floats(allow_nan=False)
NUMBERS |= st.integers() | st.integers(-9, 10**6 + 9).map(lambda whole: float(whole))
OTHERS = st.none() | st.booleans() | st.text(max_size=4) | st.lists(st.floats(allow_nan=False), max_size=2)


@given(st.dictionaries(st.sampled_from(CLICK.fields), NUMBERS | OTHERS, max_size=4))
def test_it_judges_as_the_oracle_does(change: dict[str, Any]) -> None:
    value = json.dumps(GOOD | change).encode()
    record, reasons = oracle.Contract("click").check(value)
    columns, (found,) = CLICK.columns([value])
    assert found.reason in reasons.split("|") if found else not reasons, (found, reasons)
    if found is None:
        assert [column[0] for column in columns] == [record.get(name) for name in CLICK.fields]


@given(st.text(min_size=1, max_size=128))
def test_every_text_survives(text: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):  # a lone surrogate is no UTF-8
        with pytest.raises(ContractError):
            CLICK.check(GOOD | {"event_id": text})
        return
    value = CLICK.check(GOOD | {"event_id": text})
    assert CLICK.columns([value])[0][0][0] == text
