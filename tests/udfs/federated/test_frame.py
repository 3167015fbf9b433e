"""The frame: any bytes give a frame or a reason; a frame that was changed on the way is not authentic."""

import hashlib
import hmac
import random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.udfs.federated import frame
from headrace.udfs.federated.frame import Frame, FrameFault

KEY = bytes(range(32))
SENT = Frame(7, 2, 9, "node-0042", b"key00001", b"params01", bytes(range(256)) * 4)


def test_a_frame_worked_by_hand() -> None:
    """Round 7, chunk 2 of 9: every field where the module's docstring puts it."""
    head = b"HRF1" + (7).to_bytes(8, "big") + (2).to_bytes(4, "big") + (9).to_bytes(4, "big")
    signed = head + b"key00001params01" + bytes([9]) + (1024).to_bytes(4, "big") + b"node-0042" + SENT.body
    assert frame.encode(SENT, KEY) == signed + hmac.new(KEY, signed, hashlib.sha256).digest()


@given(st.binary(max_size=200) | st.binary(max_size=200).map(frame.MAGIC.__add__), st.none() | st.binary(max_size=9))
def test_any_bytes_give_a_frame_or_a_reason(value: bytes, key: bytes | None) -> None:
    found = frame.parse(value, key)
    assert isinstance(found, Frame) or found.reason in get_args(frame.Reason)
    assert not frame.is_authentic(value, KEY)


@given(
    st.builds(
        Frame,
        round=st.integers(0, 2**63 - 1),
        chunk=st.integers(0, 99),
        chunks=st.integers(100, frame.CHUNKS_MAX),
        node=st.text("abc-0é", min_size=1, max_size=32),
        key_id=st.binary(min_size=8, max_size=8),
        parameters=st.binary(min_size=8, max_size=8),
        body=st.binary(min_size=1, max_size=300),
    )
)
def test_what_is_encoded_is_read_again(sent: Frame) -> None:
    value = frame.encode(sent, KEY)
    assert frame.parse(value, frame.kafka_key(sent.round, sent.chunk)) == sent
    assert frame.is_authentic(value, KEY)
    assert not frame.is_authentic(value, KEY[:-1] + b"x")


@pytest.mark.parametrize(
    ("reason", "value", "key"),
    [
        ("too short", b"", None),
        ("too short", frame.encode(SENT, KEY)[:40], None),
        ("too long", bytes(frame.BYTES_MAX + 1), None),
        ("not a frame", bytes(200), None),
        ("bad length", frame.encode(SENT, KEY) + b"x", None),
        ("bad length", frame.encode(SENT, KEY)[:-1], None),
        ("bad round", b"HRF1\xff" + frame.encode(SENT, KEY)[5:], None),
        ("bad chunk", frame.encode(SENT, KEY).replace(b"\x00\x00\x00\x09", b"\x00\x00\x00\x02", 1), None),
        ("bad node", frame.encode(SENT, KEY).replace(b"node-0042", b"node-004\n"), None),
        ("bad node", frame.encode(SENT, KEY).replace(b"node-0042", b"node-\xff\xff42"), None),
        ("wrong key", frame.encode(SENT, KEY), b"7/3"),
    ],
)
def test_each_refusal_has_its_reason(reason: str, value: bytes, key: bytes | None) -> None:
    found = frame.parse(value, key)
    assert isinstance(found, FrameFault)
    assert found.reason == reason


@pytest.mark.parametrize(
    "change",
    [{"key_id": b"short"}, {"parameters": b"nine byte"}, {"chunk": 9}, {"node": ""}, {"node": "x" * 65}, {"body": b""}],
)
def test_what_could_not_be_read_again_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frame"):
        frame.encode(SENT._replace(**change), KEY)


def mutated(value: bytes, rng: random.Random) -> bytes:
    """Makes one change of the kinds that wires and attackers make."""
    at, kind = rng.randrange(len(value)), rng.randrange(5)
    if kind == 0:
        return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
    if kind == 1:
        return value[:at]
    if kind == 2:
        return value[:at] + rng.randbytes(rng.randrange(1, 9)) + value[at:]
    if kind == 3:
        return value[:at] + value[at + rng.randrange(1, 9) :]
    header = rng.randrange(50)  # where lengths and numbers are
    return value[:header] + rng.randbytes(4) + value[header + 4 :]


def test_of_100_000_mutated_frames_none_is_authentic() -> None:
    rng = random.Random(1)
    value = frame.encode(SENT, KEY)
    read = 0
    for _ in range(100_000):
        changed = mutated(value, rng)
        read += isinstance(frame.parse(changed), Frame)
        assert changed == value or not frame.is_authentic(changed, KEY)
    assert read > 10_000  # so the MAC, not the form, refused these
