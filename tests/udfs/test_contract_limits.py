"""What a sender may try with the validator: depth, brackets, numbers beyond float64, values that are long to show."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from headrace.udfs.contract import MAX_DEPTH, Contract, ContractError

CLICK = Contract.of("click")
GOOD: dict[str, Any] = {"event_id": "e", "user_id": "u", "item_id": "i", "action": "view", "ts_ms": 1_767_348_000_000}


def reason(field: str, text: str) -> str | None:
    """Why a click with this text as a field is refused."""
    good = json.dumps({k: v for k, v in GOOD.items() if k != field})
    (fault,) = CLICK.columns([f'{good[:-1]}, "{field}": {text}}}'.encode()])[1]
    return fault and fault.reason


@pytest.mark.parametrize("frames", [0, 100, 300, 400])
@pytest.mark.parametrize("field", ["other", "event_id", "location"])
def test_nesting_has_one_limit_at_any_depth_of_the_caller(field: str, frames: int) -> None:
    values = [(depth, nested(depth, kind, field)) for depth in range(1, 1101) for kind in ("list", "dict", "mixed")]
    reasons = at_depth(frames, lambda: [fault and fault.reason for fault in CLICK.columns([v for _, v in values])[1]])
    allowed = None if field == "other" else "type"
    assert reasons == [allowed if depth <= MAX_DEPTH else "json" for depth, _ in values]


def nested(depth: int, kind: str, field: str) -> bytes:
    """A click with a value within `depth` arrays and objects, the record among them. Its strings hold brackets."""
    opening = {"list": ["["], "dict": ['{"a":'], "mixed": ["[", '{"a":']}[kind]
    parts = [opening[i % len(opening)] for i in range(depth - 1)]
    inner = "".join(parts) + '"\\"]}\\\\"' + "".join("]" if part == "[" else "}" for part in reversed(parts))
    good = json.dumps({k: v for k, v in GOOD.items() if k != field} | {"note": "[{" * 600})
    return f'{good[:-1]}, "{field}": {inner if depth > 1 else 1}}}'.encode()


def at_depth(frames: int, f: Callable[[], Any]) -> Any:
    return f() if frames == 0 else at_depth(frames - 1, f)


def test_no_depth_of_the_caller_raises() -> None:
    values = [nested(depth, "dict", "event_id") for depth in (1, 400, 500, 900, 990, 1000, 100_000)]
    for frames in range(400, 800, 25):
        faults = at_depth(frames, lambda: CLICK.columns(values)[1])
        assert {fault.reason for fault in faults} <= {"type", "json"}


def test_brackets_are_not_nesting() -> None:
    values: list[Any] = ["[" * 2000, [[], {}] * 2000, ['\\"[', '"]\\'] * 2000]
    for value in values:
        assert reason("note", json.dumps(value)) is None


@pytest.mark.parametrize(
    ("field", "text", "found"),
    [
        ("other", "1e400", None),
        ("other", '[{"x": -1e99999}]', None),
        ("other", f"{'9' * 5000}", None),
        ("price", "1e400", "json"),
        ("price", f"{10**309}", "json"),
        ("price", f"{10**308}", "value"),
        ("query", "1e400", "json"),
        ("query", f"{10**400}", "json"),
        ("query", f"{10**300}", "type"),
        ("quantity", "1e400", "json"),
        ("quantity", f"{10**400}", "value"),
        ("quantity", f"-{'9' * 5000}", "value"),
        ("query", "[1e400]", "type"),
        ("price", '1e400, "price": 1', None),
    ],
)
def test_a_number_beyond_float64(field: str, text: str, found: str | None) -> None:
    assert reason(field, text) == found


@pytest.mark.parametrize("value", ["x" * 10**6, [[]] * 10**5, {"a": "x" * 10**6}, ["x"] * 10**5, 10**4000])
@pytest.mark.parametrize("field", ["event_id", "action", "ts_ms", "price"])
def test_a_refusal_shows_little_of_what_it_refuses(field: str, value: Any) -> None:
    (fault,) = CLICK.columns([json.dumps(GOOD | {field: value}).encode()])[1]
    assert fault is not None
    assert fault.detail.startswith(f"{field}: ")
    assert len(fault.detail) < 250
    with pytest.raises(ContractError) as raised:
        CLICK.check(GOOD | {field: value})
    assert len(str(raised.value)) < 250


def test_check_never_shows_an_object() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    for value, said in ((deep, "recursion"), ({1: object()}, "object")):
        with pytest.raises(ContractError, match=said):
            CLICK.check(GOOD | {"query": value})
    with pytest.raises(ContractError, match="colour: no such field, got a value of type list"):
        CLICK.check(GOOD | {"colour": deep})
