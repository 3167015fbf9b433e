"""The one place that knows the homomorphic encryption: BFV (Fan, Vercauteren 2012), by TenSEAL on Microsoft SEAL.

The degree is 4096 and the coefficient modulus has 60 + 49 bits; 128-bit security allows 109 bits at this degree
(Albrecht et al. 2018, homomorphicencryption.org, table 1). SEAL encrypts under both primes, then drops the second one
and most of the noise with it. The noise that is left is the rounding of that division, of variance (1 + 2/3 x 4096) /
12 per coefficient. A sum opens exactly while its noise stays below q / 2t = 2^14. For NODES_MAX ciphertexts that is
10.8 standard deviations, a chance of 2^-70.

TenSEAL may crash the process on hostile bytes, and it inflates compressed ones. So a body is the ciphertext's two
polynomials and nothing else (udfs/federated/ciphertext.py, which also sums them). SEAL and TenSEAL always write the
same bytes around them, and this module makes these bytes.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tenseal
import zstandard
from numpy.typing import NDArray

from headrace.infra.errors import HeadraceError
from headrace.udfs.federated import ciphertext
from headrace.udfs.federated.ciphertext import BODY_BYTES
from headrace.udfs.federated.packing import MODULUS, SLOTS, Layout

Int = NDArray[np.int64]

COEFFICIENT_BITS = (60, 49)
NODES_MAX = 10_000  # the noise of a sum of more nodes could spoil its result (docs/privacy.md)
# SEAL's hash of t, q and degree.
_LEVEL = bytes.fromhex("3dde650951477bb756c1f4750ff713acd21141fbb84f1f96d34185f6679751b6")


def _varint(number: int) -> bytes:
    low = bytearray()
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*low, number])


def _header(content_bytes: int) -> bytes:
    """The header of SEAL 4: magic, its own length, version, no compression, length of all."""
    return bytes.fromhex("5ea1100403000000") + struct.pack("<Q", 16 + content_bytes)


_CIPHERTEXT = _LEVEL + struct.pack("<?QQQdQ", False, 2, SLOTS, 1, 1.0, 1) + _header(8 + BODY_BYTES)
_CIPHERTEXT += struct.pack("<Q", BODY_BYTES // 8)
_SEAL = _header(len(_CIPHERTEXT) + BODY_BYTES) + _CIPHERTEXT
_PREFIX = bytes.fromhex("0a02802012") + _varint(len(_SEAL) + BODY_BYTES) + _SEAL  # protobuf: one size, 4096; then bytes
_NO_KEYS = {"save_secret_key": False, "save_galois_keys": False, "save_relin_keys": False}


def generate() -> tuple[bytes, bytes]:
    """A new pair of keys, (public, secret). Nodes encrypt with the public one; only the key holder has the secret."""
    context = _context()
    secret = context.serialize(**{**_NO_KEYS, "save_public_key": False, "save_secret_key": True})
    return context.serialize(**{**_NO_KEYS, "save_public_key": True}), secret


def without_keys() -> bytes:
    """The parameters alone, as a context of TenSEAL. They are enough to add ciphertexts."""
    context = _context()
    context.make_context_public()
    serialized: bytes = context.serialize(**_NO_KEYS, save_public_key=False)
    return serialized


def parameters(layout: Layout) -> bytes:
    """A fingerprint of 8 bytes. It differs if ciphertexts cannot be added: other parameters, or another packing."""
    return hashlib.sha256(repr((SLOTS, COEFFICIENT_BITS, MODULUS, tuple(layout))).encode()).digest()[:8]


def key_id(public: bytes) -> bytes:
    """The id of a public key, 8 bytes."""
    return hashlib.sha256(public).digest()[:8]


class Encryptor:
    def __init__(self, public: bytes) -> None:
        self._context = tenseal.context_from(public)

    def encrypt(self, slots: Int) -> bytes:
        """Encrypts (SLOTS,) integers in (-t/2, t/2) into the body of a ciphertext.

        Raises ValueError for another shape.
        """
        if slots.shape != (SLOTS,):
            raise ValueError(f"slots must have the shape ({SLOTS},), got {slots.shape}")
        return _body(tenseal.bfv_vector(self._context, slots.tolist()))


class Decryptor:
    def __init__(self, secret: bytes) -> None:
        self._context = tenseal.context_from(secret)

    def decrypt(self, body: bytes) -> Int:
        """The (SLOTS,) integers modulo t, in (-t/2, t/2). Raises ValueError if the body is no ciphertext."""
        return np.array(_load(self._context, body).decrypt(), np.int64)


class Adder:
    """Sums with TenSEAL, as everybody else does. Tests compare `headrace.udfs.federated.ciphertext.add` with it."""

    def __init__(self) -> None:
        self._context = tenseal.context_from(without_keys())

    def add(self, bodies: Sequence[bytes]) -> bytes:
        total = _load(self._context, bodies[0])
        for body in bodies[1:]:
            total.add_(_load(self._context, body))
        return _body(total)


def _context() -> Any:
    return tenseal.context(
        tenseal.SCHEME_TYPE.BFV, SLOTS, plain_modulus=MODULUS, coeff_mod_bit_sizes=list(COEFFICIENT_BITS)
    )


def _body(vector: Any) -> bytes:
    message: bytes = vector.serialize()
    start = message.index(_SEAL[:5])
    content = zstandard.ZstdDecompressor().decompressobj().decompress(message[start + 16 :])
    if not content.startswith(_CIPHERTEXT) or len(content) != len(_CIPHERTEXT) + BODY_BYTES:
        raise HeadraceError(f"TenSEAL must write ciphertexts as 0.3.18 does, got {content[: len(_CIPHERTEXT)].hex()}")
    return content[len(_CIPHERTEXT) :]


def _load(context: Any, body: bytes) -> Any:
    if why := ciphertext.fault(body):
        raise ValueError(why)
    return tenseal.bfv_vector_from(context, _PREFIX + body)
