"""Redis commands as bytes, against redis-py's own packing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Connection

from headrace.udfs import resp

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.none() | st.binary())
def test_the_bytes_are_those_of_redis_py(key: str, value: bytes | None) -> None:
    pack: Any = Connection().pack_command  # type: ignore[no-untyped-call]
    words = ("UNLINK", key) if value is None else ("SET", key, value)
    assert list(resp.lasting([key], [value])) == [b"".join(pack(*words))]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(resp.lasting(["k1", "k2"], [b"1"]))
