"""Redis commands as bytes, against redis-py's own packing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Connection

from headrace.udfs.resp import HashWriter, bulk

VALUES = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.lists(VALUES, min_size=3, max_size=3), st.integers(0, 2**50)
)
def test_the_bytes_are_those_of_redis_py(key: str, values: list[object], at_ms: int) -> None:
    fields = ["a", "b", "café"]
    pack: Any = Connection().pack_command  # type: ignore[no-untyped-call]
    pairs = [part for pair in zip(fields, map(str, values), strict=True) for part in pair]
    expected = b"".join([*pack("HSET", key, *pairs), *pack("PEXPIREAT", key, at_ms)])
    assert list(HashWriter(fields).commands([key], [[value] for value in values], [at_ms])) == [expected]


def test_equal_values_of_different_types_are_not_mixed_up() -> None:
    writer = HashWriter(["x"])
    first, second, third = (next(writer.commands(["k"], [[value]], [1])) for value in (1, 1.0, "1"))
    assert bulk(1) in first
    assert bulk(1.0) in second
    assert b"1.0" not in third


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(HashWriter(["a"]).commands(["k1", "k2"], [[1]], [1, 2]))
