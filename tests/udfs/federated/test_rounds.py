"""A model as parts of records, and the reasons for which a frame is refused before its round is known."""

import numpy as np
import pytest

from headrace.udfs.federated import ciphertext, frame, rounds
from headrace.udfs.federated.round_arithmetic import rotate

MACS = {"n": b"k" * 32}
FRAME = frame.Frame(3, 0, 1, "n", b"K" * 8, b"P" * 8, bytes(ciphertext.BODY_BYTES))


@pytest.mark.parametrize("length", [1, rounds.PART, rounds.PART + 1, 40_000])
def test_parts_come_together_again(length: int) -> None:
    both = np.random.default_rng(1).standard_normal((2, length))
    strings = rounds.split(both, "<f8")
    assert len(strings) == rounds.parts(length)
    assert max(map(len, strings)) < 1 << 20
    np.testing.assert_array_equal(rounds.join(strings, "<f8", 2), both)
    np.testing.assert_array_equal(rounds.join(rounds.split(both[0], "<f4"), "<f4")[0], both[0].astype("<f4"))


def test_a_frame_is_received() -> None:
    value = frame.encode(FRAME, MACS["n"])
    assert rounds.received(value, b"3/0", MACS) == (3, 0, 1, "n", (b"K" * 8).hex(), (b"P" * 8).hex(), None, None)


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("unknown node", frame.encode(FRAME._replace(node="m"), MACS["n"])),
        ("wrong MAC", frame.encode(FRAME, b"x" * 32)),
        ("bad ciphertext", frame.encode(FRAME._replace(body=b"\xff" * ciphertext.BODY_BYTES), MACS["n"])),
        ("too short", b"HRF1"),
    ],
)
def test_a_frame_is_refused(reason: str, value: bytes) -> None:
    *_, said, detail = rounds.received(value, b"3/0", MACS)
    assert said == reason
    assert detail


def test_the_fold_is_the_mean_of_the_updates() -> None:
    length, number, scale = 20_000, 5, 1000.0
    rng = np.random.default_rng(2)
    model, updates = rng.standard_normal(length), rng.standard_normal((2, length))
    rotated = [np.rint(rotate(update, rounds.seed(number)) * scale) for update in updates]
    totals = [rounds.split(each, "<i8") for each in (rotated[0] + rotated[1], 3 * rotated[1])]
    parameters = rounds.split(model, "<f4")
    found = rounds.folded(number, "fedavg", None, scale, [2], parameters, None, totals[0])
    after = rounds.join([new for _, new, _ in found], "<f4")[0]
    assert np.abs(after - model - updates.mean(axis=0)).max() < 5 / scale
    robust = rounds.folded(number, "fedavg", None, scale, [2, 3], parameters, None, [*totals[0], *totals[1]])
    after = rounds.join([new for _, new, _ in robust], "<f4")[0]
    assert np.abs(after - model - (updates.mean(axis=0) + updates[1]) / 2).max() < 5 / scale
