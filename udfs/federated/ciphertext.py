"""Sums encrypted updates without the library that encrypts them. A BFV ciphertext is two polynomials modulo q.

    body     2 x 4096 coefficients in [0, q), 8 bytes each, little-endian; no header, nothing to parse
    sum      coefficient by coefficient modulo q (Fan, Vercauteren 2012, section 4)

A body with this size and all coefficients below q is a ciphertext of something. Every other body is refused, so no
hostile body can crash or stop the sum of the others. The job sums in the JVM, which holds the frames
(udfs/jvm/Ciphertexts.java); `add` defines its result.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.federated.packing import SLOTS

Q = (1 << 60) - (1 << 14) + 1  # the greatest prime below 2^60 with q = 1 mod 2 SLOTS
BODY_BYTES = 2 * SLOTS * 8
_BEFORE_OVERFLOW = 14  # ciphertexts that fit in 64 bits on top of a reduced sum


def fault(body: bytes) -> str:
    """Why the body is no ciphertext. Empty if it is one."""
    if len(body) != BODY_BYTES:
        return f"body must have {BODY_BYTES} bytes, got {len(body)}"
    largest = int(_coefficients(body).max())
    return f"body must have coefficients below {Q}, got {largest}" if largest >= Q else ""


def add(bodies: Iterable[bytes]) -> bytes:
    """The ciphertext of the sum. The bodies must have no fault."""
    total = np.zeros(2 * SLOTS, np.uint64)
    for number, body in enumerate(bodies, 1):
        total += _coefficients(body)
        if number % _BEFORE_OVERFLOW == 0:
            total %= Q
    return (total % Q).astype("<u8").tobytes()


def _coefficients(body: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(body, "<u8")
