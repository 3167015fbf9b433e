"""Redis commands as bytes, against redis-py's own packing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Connection

from headrace.udfs import resp
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


def test_scores_are_added_trimmed_and_expire_as_redis_py_would_write_it() -> None:
    pack: Any = Connection().pack_command  # type: ignore[no-untyped-call]
    (sent,) = resp.scored(["k"], [{"café": 5, "b": 7}], 9)
    add, trim = pack("ZADD", "k", "GT", 5, "café", 7, "b"), pack("ZREMRANGEBYRANK", "k", 0, -10)
    begin = b"".join([*add, *trim])
    assert sent.startswith(begin)
    assert sent.removeprefix(begin).startswith(b"*4\r\n$4\r\nEVAL\r\n")
    assert sent.endswith(b"$1\r\n1\r\n$1\r\nk\r\n")


def test_a_list_that_lasts_or_is_gone() -> None:
    pack: Any = Connection().pack_command  # type: ignore[no-untyped-call]
    expected = [b"".join(pack("SET", "a", b"{}")), b"".join(pack("UNLINK", "b"))]
    assert list(resp.lasting(["a", "b"], [b"{}", None])) == expected


def test_equal_values_of_different_types_are_not_mixed_up() -> None:
    writer = HashWriter(["x"])
    first, second, third = (next(writer.commands(["k"], [[value]], [1])) for value in (1, 1.0, "1"))
    assert bulk(1) in first
    assert bulk(1.0) in second
    assert b"1.0" not in third


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(HashWriter(["a"]).commands(["k1", "k2"], [[1]], [1, 2]))
