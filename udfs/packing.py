"""Several signed numbers in one plaintext slot, so that adding slots adds the numbers.

A slot holds sum_j v_j 2^(w j), with signed v_j. Additions carry into the next field and the signs undo it on opening,
so only the SUM over the cohort must fit its field: -2^(w-1) <= sum < 2^(w-1). One node's own value may exceed it. Slots
are taken modulo the plaintext modulus t, and w x fields <= floor(log2 t) leaves room for every sum that fits. What does
not fit changes its own value and its neighbour's; `udfs.federated.field_width` makes that rare.

The last slot of each chunk carries a tag, PRF(node's key, round, chunk). Tags add modulo t as well, so the key holder,
who knows every node's key, can tell a sum over exactly the claimed cohort from any other.
"""

import hashlib
import hmac
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]

SLOTS = 4096
MODULUS = 35184372121601  # t: the least prime above 2^45 with t = 1 mod 2 SLOTS, as batching needs
BITS = MODULUS.bit_length() - 1


class Layout(NamedTuple):
    width: int  # bits of one field, of the sum over the cohort
    fields: int  # a slot
    slots: int = SLOTS

    def values(self) -> int:
        """Of one chunk."""
        return self.fields * (self.slots - 1)

    def chunks(self, n: int) -> int:
        return -(-n // self.values())


def layout(width: int) -> Layout:
    if not 2 <= width <= BITS:
        raise ValueError(f"width must be from 2 to {BITS} bits, got {width}")
    return Layout(width, BITS // width)


def pack(values: Int, layout: Layout, tags: Int) -> Int:
    """n values and one tag a chunk -> (chunks, slots), each in (-t/2, t/2)."""
    chunks = layout.chunks(len(values))
    if len(tags) != chunks:
        raise ValueError(f"tags must be one for each of {chunks} chunks, got {len(tags)}")
    largest = 1 << 62 - layout.width * (layout.fields - 1)
    if len(values) and max(values.max(), -values.min()) >= largest:
        raise ValueError(f"values must be within {largest} in this layout, got {values.min()} to {values.max()}")
    padded = np.zeros(chunks * layout.values(), np.int64)
    padded[: len(values)] = values
    slots = np.zeros((chunks, layout.slots), np.int64)
    for field in reversed(range(layout.fields)):
        slots[:, :-1] = (slots[:, :-1] << layout.width) + padded.reshape(chunks, layout.fields, -1)[:, field]
    slots[:, -1] = tags
    return (slots + MODULUS // 2) % MODULUS - MODULUS // 2


def unpack(sums: Int, layout: Layout, n: int) -> tuple[Int, Int]:
    """(chunks, slots) of slots summed modulo t -> the n sums, and for each chunk the sum of its tags in [0, t)."""
    half, whole = 1 << layout.width - 1, 1 << layout.width
    rest = sums[:, :-1] % MODULUS
    rest[rest > (half - 1) * sum(whole**field for field in range(layout.fields))] -= MODULUS
    values = np.empty((len(sums), layout.fields, layout.slots - 1), np.int64)
    for field in range(layout.fields):
        values[:, field] = (rest + half) % whole - half
        rest = (rest - values[:, field]) >> layout.width
    return values.reshape(-1)[:n], np.asarray(sums[:, -1] % MODULUS)


def tag(secret: bytes, round_: int, chunk: int) -> int:
    """PRF(secret, round, chunk), uniform in [0, t) but for 2^-82."""
    digest = hmac.digest(secret, b"%d/%d" % (round_, chunk), hashlib.sha256().name)
    return int.from_bytes(digest[:16], "big") % MODULUS


def tag_sum(secrets: list[bytes], round_: int, chunk: int) -> int:
    """What the tag slot of a chunk must hold when it sums exactly the nodes with these secrets."""
    return sum(tag(secret, round_, chunk) for secret in secrets) % MODULUS
