"""Packs several signed numbers into one plaintext slot, so that adding slots adds the numbers.

A slot holds sum_j v_j 2^(w j), with signed v_j. Additions carry into the next field, and the signs undo it on opening.
So only the SUM over the cohort must fit its field, -2^(w-1) <= sum < 2^(w-1); one node's own value may exceed it. Slots
are taken modulo the plaintext modulus t, and w x fields <= floor(log2 t) leaves room for every sum that fits. A sum
that does not fit changes its own value and its neighbour's; `field_width` in
udfs/federated/round_arithmetic.py makes that rare.

The last TAGS slots of each chunk carry a tag, PRF(node's key, round, chunk). Tags add modulo t as well. So the key
holder, who knows every node's key, can distinguish a sum over exactly the claimed cohort from any other. One slot would
not be enough: anybody without a key can multiply a ciphertext by any small polynomial, and lattice reduction finds
small ones that are 1 in one slot and 0 in a few others. That would hide a single node's numbers in a sum with the right
tag. To be 1 in 64 slots, a polynomial must be 1, or far longer than the encryption's noise allows (docs/privacy.md).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Tag = tuple[int, ...]  # TAGS numbers in [0, t)

SLOTS = 4096
MODULUS = 35184372121601  # t: the least prime above 2^45 with t = 1 mod 2 SLOTS, as batching needs
BITS = MODULUS.bit_length() - 1
TAGS = 64


class Layout(NamedTuple):
    width: int  # bits of one field, which holds the sum over the cohort
    fields: int  # per slot
    slots: int = SLOTS  # per chunk
    tags: int = TAGS  # slots of a chunk that carry its tag

    def values(self) -> int:
        """How many numbers one chunk holds."""
        return self.fields * (self.slots - self.tags)

    def chunks(self, n: int) -> int:
        """How many chunks n numbers need."""
        return -(-n // self.values())


def layout(width: int) -> Layout:
    """The layout with as many fields of `width` bits as a slot holds. Raises ValueError if it holds none."""
    if not 2 <= width <= BITS:
        raise ValueError(f"width must be from 2 to {BITS} bits, got {width}")
    return Layout(width, BITS // width)


def pack(values: Int, layout: Layout, tags: Int) -> Int:
    """Packs n values, and one tag per chunk, (chunks, tags), into (chunks, slots), each in (-t/2, t/2).

    Raises ValueError if the tags have another shape or a value is too large for the layout.
    """
    chunks = layout.chunks(len(values))
    if tags.shape != (chunks, layout.tags):
        raise ValueError(f"tags must have the shape {(chunks, layout.tags)}, got {tags.shape}")
    largest = 1 << 62 - layout.width * (layout.fields - 1)
    if len(values) and max(values.max(), -values.min()) >= largest:
        raise ValueError(f"values must be within {largest} in this layout, got {values.min()} to {values.max()}")
    padded = np.zeros(chunks * layout.values(), np.int64)
    padded[: len(values)] = values
    packed = np.zeros((chunks, layout.slots - layout.tags), np.int64)
    for field in reversed(range(layout.fields)):
        packed = (packed << layout.width) + padded.reshape(chunks, layout.fields, -1)[:, field]
    return (np.hstack([packed, tags]) + MODULUS // 2) % MODULUS - MODULUS // 2


def unpack(sums: Int, layout: Layout, n: int) -> tuple[Int, list[Tag]]:
    """Unpacks slots that were summed modulo t, (chunks, slots): the n sums, and each chunk's sum of tags."""
    half, whole = 1 << layout.width - 1, 1 << layout.width
    rest = sums[:, : -layout.tags] % MODULUS
    rest[rest > (half - 1) * sum(whole**field for field in range(layout.fields))] -= MODULUS
    values = np.empty((len(sums), layout.fields, layout.slots - layout.tags), np.int64)
    for field in range(layout.fields):
        values[:, field] = (rest + half) % whole - half
        rest = (rest - values[:, field]) >> layout.width
    return values.reshape(-1)[:n], [tuple(tag.tolist()) for tag in sums[:, -layout.tags :] % MODULUS]


def tag(secret: bytes, round_: int, chunk: int) -> Tag:
    """PRF(secret, round, chunk): SHAKE-256 with a key before the message (FIPS 202; no length extension).

    Raises ValueError unless the secret has at least 16 bytes.
    """
    if len(secret) < 16:
        raise ValueError(f"secret must have >= 16 bytes, got {len(secret)}")
    drawn = hashlib.shake_256(secret + b"/%d/%d" % (round_, chunk)).digest(8 * TAGS)
    return tuple((np.frombuffer(drawn, "<u8") % np.uint64(MODULUS)).tolist())


def tag_sum(secrets: Sequence[bytes], round_: int, chunk: int) -> Tag:
    """What the tag slots of a chunk must hold if it sums exactly the nodes with these secrets."""
    total = np.sum([tag(secret, round_, chunk) for secret in secrets], axis=0, dtype=np.int64)
    return tuple((total % MODULUS).tolist())
