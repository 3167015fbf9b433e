"""The one place that knows the homomorphic encryption: BFV (Fan, Vercauteren 2012), by TenSEAL on Microsoft SEAL.

Degree 4096, coefficient modulus of 60 + 49 bits: 109 bits is what 128-bit security allows at this degree (Albrecht et
al. 2018, homomorphicencryption.org, table 1). SEAL encrypts under both primes and drops the second, and most of the
noise with it: what is left is the rounding of that division, of variance (1 + 2/3 x 4096) / 12 a coefficient. A sum
opens exactly while its noise stays below q / 2t = 2^14: 10.8 standard deviations for NODES_MAX ciphertexts, a chance
of 2^-70.

TenSEAL may crash the process on hostile bytes. So frames carry the body of SEAL alone, behind a MAC; the protobuf
around it, always the same, is made here, and SEAL's own header is checked. The aggregator's context has no key at all.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray

from udfs.packing import MODULUS, SLOTS, Layout

Int = NDArray[np.int64]

COEFFICIENT_BITS = (60, 49)
NODES_MAX = 10_000
_SHAPE = b"\x0a\x02\x80\x20"  # protobuf: field 1, the number of slots
_CIPHERTEXT = 0x12  # field 2, bytes
_SEAL_HEADER = bytes.fromhex("5ea11004")  # magic, length of the header, major version
_NO_KEYS = {"save_secret_key": False, "save_galois_keys": False, "save_relin_keys": False}


def generate() -> tuple[bytes, bytes]:
    """(public, secret): what a node encrypts with, and what only the key holder has."""
    context = _context()
    secret = context.serialize(**{**_NO_KEYS, "save_public_key": False, "save_secret_key": True})
    return context.serialize(**{**_NO_KEYS, "save_public_key": True}), secret


def without_keys() -> bytes:
    """The parameters alone, as TenSEAL's context: all that it takes to add."""
    context = _context()
    context.make_context_public()
    serialized: bytes = context.serialize(**_NO_KEYS, save_public_key=False)
    return serialized


def parameters(layout: Layout) -> bytes:
    """8 bytes that differ for what cannot be added: other parameters, or numbers packed in another way."""
    return hashlib.sha256(repr((SLOTS, COEFFICIENT_BITS, MODULUS, tuple(layout))).encode()).digest()[:8]


def key_id(public: bytes) -> bytes:
    return hashlib.sha256(public).digest()[:8]


class Encryptor:
    def __init__(self, public: bytes) -> None:
        self._context = tenseal.context_from(public)

    def encrypt(self, slots: Int) -> bytes:
        """(SLOTS,) integers in (-t/2, t/2) -> the body of a ciphertext."""
        if slots.shape != (SLOTS,):
            raise ValueError(f"slots must have the shape ({SLOTS},), got {slots.shape}")
        return _body(tenseal.bfv_vector(self._context, slots.tolist()))


class Decryptor:
    def __init__(self, secret: bytes) -> None:
        self._context = tenseal.context_from(secret)

    def decrypt(self, body: bytes) -> Int:
        """The (SLOTS,) integers modulo t, in (-t/2, t/2)."""
        return np.array(_load(self._context, body).decrypt(), np.int64)


class Adder:
    """Sums ciphertexts without any key."""

    def __init__(self) -> None:
        self._context = tenseal.context_from(without_keys())

    def add(self, bodies: Sequence[bytes]) -> bytes:
        """The sum of at least one ciphertext. Raises ValueError for a body that is not one."""
        if not 1 <= len(bodies) <= NODES_MAX:
            raise ValueError(f"bodies must be 1 to {NODES_MAX}, got {len(bodies)}")
        total = _load(self._context, bodies[0])
        for body in bodies[1:]:
            total.add_(_load(self._context, body))
        return _body(total)


def add(bodies: Sequence[bytes]) -> bytes:
    return Adder().add(bodies)


def _context() -> Any:
    return tenseal.context(
        tenseal.SCHEME_TYPE.BFV, SLOTS, plain_modulus=MODULUS, coeff_mod_bit_sizes=list(COEFFICIENT_BITS)
    )


def _body(vector: Any) -> bytes:
    message: bytes = vector.serialize()
    start = len(_SHAPE) + 1
    while message[start] & 0x80:  # the last byte of a varint has no top bit
        start += 1
    return message[start + 1 :]


def _load(context: Any, body: bytes) -> Any:
    if body[:4] != _SEAL_HEADER or int.from_bytes(body[8:16], "little") != len(body):
        raise ValueError(f"body must be one of SEAL 4 with its own length, got {body[:16].hex()} and {len(body)} bytes")
    return tenseal.bfv_vector_from(context, _SHAPE + bytes([_CIPHERTEXT]) + _varint(len(body)) + body)


def _varint(number: int) -> bytes:
    low = bytearray()
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*low, number])
