"""Packing: sums of packed slots, modulo t, are the packed sums; in Python's integers, which know no overflow."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from headrace.udfs.federated import packing

t = packing.MODULUS
Int = NDArray[np.int64]


def no_tags(layout: packing.Layout, n: int) -> Int:
    return np.zeros((layout.chunks(n), packing.TAGS), np.int64)


def test_a_slot_worked_by_hand() -> None:
    """Two fields of 22 bits: 5 and -3 make 5 - 3 x 2^22; the second chunk's slots are 0 where values end."""
    layout = packing.layout(22)
    assert layout == (22, 2, 4096, 64)
    values = np.zeros(4032 + 1, np.int64)
    values[0], values[4032] = 5, -3
    slots = packing.pack(values, layout, np.arange(64)[None])
    assert slots.shape == (1, 4096)
    assert slots[0, 0] == 5 - 3 * 2**22
    assert slots[0, -64:].tolist() == list(range(64))
    assert not slots[0, 1:-64].any()


@pytest.mark.parametrize("width", [2, 9, 11, 14, 15, 21, 22, 45])
def test_the_modulus_has_room_for_every_sum_that_fits(width: int) -> None:
    layout = packing.layout(width)
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    extremes = np.resize(np.array([low, high, 0, -1, high, low, low]), 20_000)
    opened, _ = packing.unpack(packing.pack(extremes, layout, no_tags(layout, 20_000)) % t, layout, 20_000)
    np.testing.assert_array_equal(opened, extremes)


@settings(max_examples=50)
@given(st.integers(2, 45), st.integers(1, 1000), st.integers(0, 2**32))
def test_the_sum_opens_exactly_though_nodes_exceed_their_field(width: int, nodes: int, seed: int) -> None:
    """Wanted sums are given; each node gets a share whose tail may be far outside the field."""
    rng, layout = np.random.default_rng(seed), packing.layout(width)
    n = int(rng.integers(1, 3 * layout.values() if layout.fields < 4 else 50))
    n = min(n, 500)
    wanted = rng.integers(-(2 ** (width - 1)), 2 ** (width - 1), n)
    tail = 1 << min(width + 2, 61 - width * (layout.fields - 1))
    shares = rng.integers(-tail // 2, tail // 2, (nodes, n)) // nodes
    shares[0] = wanted - shares[1:].sum(axis=0)
    total = np.zeros((layout.chunks(n), layout.slots), np.int64)
    for share in shares:
        total = (total + packing.pack(share, layout, no_tags(layout, n))) % t
    np.testing.assert_array_equal(packing.unpack(total, layout, n)[0], wanted)


def test_a_value_beyond_its_own_field_is_undone_by_another_node() -> None:
    layout = packing.layout(15)
    ours, theirs = np.array([40_000, -2, 90_000]), np.array([-30_000, 1, -100_000])
    total = packing.pack(ours, layout, np.full((1, 64), t - 1)) + packing.pack(theirs, layout, np.full((1, 64), 5))
    values, tags = packing.unpack(total % t, layout, 3)
    assert values.tolist() == [10_000, -1, -10_000]
    assert tags == [(4,) * 64]


def test_tags_add_up_for_the_claimed_cohort_alone() -> None:
    secrets = [b"the key of node %d" % node for node in range(50)]
    drawn = hashlib.shake_256(b"the key of node 0/3/1").digest(512)
    numbers = [int.from_bytes(drawn[at : at + 8], "little") % t for at in range(0, 512, 8)]
    assert packing.tag(secrets[0], 3, 1) == tuple(numbers)
    held = packing.tag_sum(secrets, 3, 1)
    assert held == tuple(sum(column) % t for column in zip(*(packing.tag(each, 3, 1) for each in secrets), strict=True))
    for other in (secrets[1:], [*secrets, secrets[0]], [secrets[0]] * 50, [*secrets[:-1], b"another one's key"]):
        assert not set(packing.tag_sum(other, 3, 1)) & set(held)
    assert held not in (packing.tag_sum(secrets, 3, 2), packing.tag_sum(secrets, 4, 1))


def test_refused() -> None:
    layout = packing.layout(15)
    for width in (1, 46):
        with pytest.raises(ValueError, match="width must be"):
            packing.layout(width)
    with pytest.raises(ValueError, match="tags must have the shape"):
        packing.pack(np.zeros(3, np.int64), layout, np.zeros((2, 64), np.int64))
    with pytest.raises(ValueError, match="values must be within"):
        packing.pack(np.array([-(1 << 40)]), layout, no_tags(layout, 1))
    with pytest.raises(ValueError, match="secret must have"):
        packing.tag(b"short", 1, 1)
