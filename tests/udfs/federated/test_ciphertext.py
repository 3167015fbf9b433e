"""Sums of ciphertexts against Python's integers; tests/edge/federated/test_bfv.py has them against TenSEAL's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.udfs.federated import ciphertext
from headrace.udfs.federated.ciphertext import BODY_BYTES, Q


@pytest.mark.parametrize("count", [1, 2, 13, 14, 15, 16, 17, 45])
def test_sums_of_the_greatest_coefficients_do_not_overflow(count: int) -> None:
    body = np.full(BODY_BYTES // 8, Q - 1, "<u8").tobytes()
    assert np.frombuffer(ciphertext.add([body] * count), "<u8").tolist() == [(Q - 1) * count % Q] * (BODY_BYTES // 8)


def test_sums_are_those_of_integers() -> None:
    rows = np.random.default_rng(1).integers(0, Q, (100, BODY_BYTES // 8), np.uint64)
    total = np.frombuffer(ciphertext.add([row.astype("<u8").tobytes() for row in rows]), "<u8")
    assert total.tolist() == [sum(column) % Q for column in rows.T.tolist()]


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_can_be_added(start: bytes) -> None:
    assert ciphertext.fault(start).startswith("body must have 65536 bytes")
    body = start.ljust(BODY_BYTES, b"\0")
    numbers = [int.from_bytes(body[at : at + 8], "little") for at in range(0, 48, 8)]
    assert (ciphertext.fault(body) == "") == (max(numbers) < Q)


def test_the_greatest_coefficient_is_below_q() -> None:
    for number, why in ((Q - 1, ""), (Q, f"body must have coefficients below {Q}, got {Q}")):
        assert ciphertext.fault(number.to_bytes(8, "little") + bytes(BODY_BYTES - 8)) == why
