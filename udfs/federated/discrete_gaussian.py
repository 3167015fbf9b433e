"""Exact samples of the discrete Gaussian, the noise of a federated round: P(x) ~ exp(-x^2 / 2 sigma^2) on the integers.

Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy" (arXiv:2004.00010), Algorithms 1 to 3,
on whole arrays. The arithmetic is of integers alone, so no rounding of floats weakens the proof. Where we differ: sigma
is an integer, and the Laplace proposal of Algorithm 3 has t = sigma instead of floor(sigma) + 1 (any t >= 1 is right).
So its test is a Bernoulli of exp(-(|y| - sigma)^2 / 2 sigma^2). Proposals of 64 sigma and more are refused: they would
pass with a chance below e^-1984.

Chance is an argument: a function that returns n random bytes. It is `os.urandom` wherever privacy depends on it, since
the output of a numpy generator can be computed from its earlier output. Tests take
`numpy.random.default_rng(seed).bytes`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Chance = Callable[[int], bytes]

SIGMA_MAX = 1 << 24  # 2 sigma^2 and (63 sigma)^2 are far below 2^63
_FURTHEST = 64  # sigma


def sample(sigma: int, n: int, chance: Chance) -> Int:
    """n independent draws, (n,). They are zeros for sigma 0. Raises ValueError unless 0 <= sigma <= SIGMA_MAX."""
    if not 0 <= sigma <= SIGMA_MAX:
        raise ValueError(f"sigma must be from 0 to {SIGMA_MAX}, got {sigma}")
    if sigma == 0:
        return np.zeros(n, np.int64)
    drawn = np.empty(n, np.int64)
    filled = 0
    while filled < n:
        some = _accepted(sigma, (n - filled) * 3 // 2 + 16, chance)[: n - filled]
        drawn[filled : filled + len(some)] = some
        filled += len(some)
    return drawn


def _accepted(sigma: int, n: int, chance: Chance) -> Int:
    """Algorithm 3: makes n proposals and returns those that pass."""
    y = _laplace(sigma, n, chance)
    return y[_bernoulli_exp((np.abs(y) - sigma) ** 2, 2 * sigma**2, chance)]


def _laplace(t: int, n: int, chance: Chance) -> Int:
    """Algorithm 2 with s = 1: makes n proposals and returns those that pass; P(x) ~ exp(-|x| / t)."""
    u = _below(t, n, chance)
    u = u[_bernoulli_exp(u, t, chance)]
    x = u + t * _geometric(len(u), chance)
    negative = _below(2, len(x), chance) == 1
    signed: Int = np.where(negative, -x, x)
    passed: Bool = ~(negative & (x == 0)) & (x < _FURTHEST * t)
    return signed[passed]


def _geometric(n: int, chance: Chance) -> Int:
    """n draws of how often a Bernoulli of 1/e succeeds before it fails."""
    successes = np.zeros(n, np.int64)
    alive = np.arange(n)
    while len(alive):
        alive = alive[_bernoulli_exp(np.ones(len(alive), np.int64), 1, chance)]
        successes[alive] += 1
    return successes


def _bernoulli_exp(numerators: Int, denominator: int, chance: Chance) -> Bool:
    """Algorithm 1: True with probability exp(-numerator / denominator)."""
    whole, rest = np.divmod(numerators, denominator)
    passed = _bernoulli_exp_small(rest, denominator, chance)
    alive = np.flatnonzero(passed & (whole > 0))
    passed[whole > 0] = False
    round_ = 0
    while len(alive):
        round_ += 1
        alive = alive[_bernoulli_exp_small(np.full(len(alive), 1), 1, chance)]
        passed[alive[whole[alive] == round_]] = True
        alive = alive[whole[alive] > round_]
    return passed


def _bernoulli_exp_small(numerators: Int, denominator: int, chance: Chance) -> Bool:
    """The same for ratios of at most 1. K counts up until a Bernoulli of ratio / K fails; an odd K is a success."""
    odd = np.zeros(len(numerators), bool)
    alive = np.arange(len(numerators))
    k = 1
    while len(alive):
        going = _below(k, len(alive), chance) == 0
        going[going] = _below(denominator, int(going.sum()), chance) < numerators[alive[going]]
        odd[alive[~going]] = k % 2 == 1
        alive = alive[going]
        k += 1
    return odd


def _below(bound: int, n: int, chance: Chance) -> Int:
    """n uniform integers in [0, bound), by rejection from the next power of two."""
    if bound == 1:
        return np.zeros(n, np.int64)
    bits = (bound - 1).bit_length()
    drawn = _bits(bits, n, chance)
    while len(wrong := np.flatnonzero(drawn >= bound)):
        drawn[wrong] = _bits(bits, len(wrong), chance)
    return drawn


def _bits(bits: int, n: int, chance: Chance) -> Int:
    size = next(size for size in (1, 2, 4, 8) if bits <= 8 * size)
    drawn: Int = np.frombuffer(chance(n * size), f"<u{size}").astype(np.int64)
    return np.bitwise_and(drawn, (1 << bits) - 1)
