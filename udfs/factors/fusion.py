"""Fuses two estimates of the same item factors, from different users, into one.

Factors are known up to a rotation of their space, so the second estimate is rotated onto the first (orthogonal
Procrustes: Schoenemann 1966). Then each is the truth plus an error of its own, and the best mean weighs by precision
(Aitken 1935):

    mean (a - b)^2 = s^2 / users_a + s^2 / users_b + noise        gives s^2; `noise` is what privacy added to b
    y = (v_b a + v_a b) / (v_a + v_b),  v_a = s^2 / users_a,  v_b = s^2 / users_b + noise

So the precisions are measured from the distance of the two estimates, not assumed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Fused(NamedTuple):
    factors: Float  # (m, f), in a's space
    weight: float  # of b, 0 to 1


def rotation(source: Float, target: Float) -> Float:
    """The orthogonal Q (f, f) for which source Q is nearest to target. source, target (m, f)."""
    left, _, right = np.linalg.svd(source.T @ target)
    return np.asarray(left @ right)


def fuse(a: Float, b: Float, users_a: int, users_b: int, noise: float) -> Fused:
    """The precision-weighted mean of a and b, both (m, f) with the same items row by row.

    noise: the variance that privacy added to each number of b. Raises ValueError unless users_a, users_b > 0 and
    noise >= 0.
    """
    if not (users_a > 0 and users_b > 0 and noise >= 0):
        raise ValueError(f"users must be > 0 and noise >= 0, got {users_a}, {users_b} and {noise}")
    rotated = b @ rotation(b, a)
    distance = float(np.mean((a - rotated) ** 2))
    spread = max(0.0, distance - noise) / (1 / users_a + 1 / users_b)
    v_a, v_b = spread / users_a, spread / users_b + noise
    weight = v_a / (v_a + v_b) if v_a + v_b > 0 else users_b / (users_a + users_b)
    return Fused((1 - weight) * a + weight * rotated, weight)
