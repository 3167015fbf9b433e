"""The validator: what it accepts, what it refuses, and in which words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.udfs.contract import Contract, ContractError, Fault

CLICK = Contract.of("click")
GOOD: dict[str, Any] = {"event_id": "e1", "user_id": "u", "item_id": "i", "action": "view", "ts_ms": 5}


def fault(**change: Any) -> Fault | None:
    return CLICK.columns([json.dumps(GOOD | change).encode()])[1][0]


def raw_fault(value: bytes | None) -> Fault | None:
    return CLICK.columns([value])[1][0]


def test_good_and_bad_records_keep_their_places() -> None:
    good = json.dumps(GOOD).encode()
    columns, faults = CLICK.columns([good, b"{", good])
    assert dict(zip(CLICK.fields, columns, strict=True))["ts_ms"] == (5, None, 5)
    assert [f and f.reason for f in faults] == [None, "json", None]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"ts_ms": 1.0}, "type", "ts_ms: Expected `int`, got 1.0"),
        ({"ts_ms": "5"}, "type", "ts_ms: Expected `int`, got '5'"),
        ({"ts_ms": True}, "type", "ts_ms: Expected `int`, got True"),
        ({"ts_ms": -1}, "value", "ts_ms: Expected `int` >= 0, got -1"),
        ({"ts_ms": 2**80}, "value", f"ts_ms: Expected `int` <= 253402300799999, got {2**80}"),
        ({"user_id": ""}, "value", "user_id: Expected `str` of length >= 1, got ''"),
        ({"user_id": None}, "type", "user_id: Expected `str`, got None"),
        ({"action": "zap"}, "value", "action: Invalid enum value 'zap', got 'zap'"),
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
        "ts_ms": 1,
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


@given(st.text(min_size=1, max_size=128))
def test_every_text_survives(text: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in text):  # a lone surrogate is no UTF-8
        with pytest.raises(ContractError):
            CLICK.check(GOOD | {"event_id": text})
        return
    value = CLICK.check(GOOD | {"event_id": text})
    assert CLICK.columns([value])[0][0][0] == text
