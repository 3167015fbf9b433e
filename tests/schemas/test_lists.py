"""The record of a list: what readers in any language get, byte for byte, and what is no list."""

import msgspec
import pytest

from headrace.schemas import lists
from headrace.schemas.lists import Entry, Listed

LISTED = Listed("v1", 7, [Entry("lamp", 0.5, "bulb"), Entry("Möbel", 1.0)])
VALUE = (
    '{"version":"v1","as_of_ms":7,"items":['
    '{"item":"lamp","score":0.5,"reason":"bulb"},{"item":"Möbel","score":1.0,"reason":null}]}'
)


def test_a_list_is_spelled_like_this() -> None:
    assert lists.encode(LISTED) == VALUE.encode()
    assert lists.decode(VALUE) == lists.decode(VALUE.encode()) == LISTED


def test_a_reader_takes_fields_that_are_new_and_a_reason_that_is_not_there() -> None:
    value = '{"version": "", "as_of_ms": 7, "kind": "x", "items": [{"item": "lamp", "score": 1, "because": 2}]}'
    assert lists.decode(value) == Listed("", 7, [Entry("lamp", 1.0)])


@pytest.mark.parametrize("value", ["", "[]", "{}", '{"version": "v1", "as_of_ms": 1, "items": [{"item": "lamp"}]}'])
def test_what_is_no_list_is_an_error(value: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        lists.decode(value)


def test_a_list_without_what_is_forbidden() -> None:
    value = lists.encode(Listed("v1", 7, [Entry("lamp", 0.5, "bulb"), Entry("rug", 0.25)]))
    assert lists.without(value, "bulb".__eq__) is value  # a reason is no item
    assert lists.decode(lists.without(value, "lamp".__eq__) or b"") == Listed("v1", 7, [Entry("rug", 0.25)])
    assert lists.without(value, lambda item: True) is None
