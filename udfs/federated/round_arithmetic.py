"""The arithmetic of a federated round: what a node does to its update, and what the sum of updates does to the model.

Kairouz, Liu, Steinke 2021 (arXiv:2102.06387), Algorithms 1 and 2, with granularity gamma = 1 / scale:

    node    clip to L2 norm c > rotate > scale > round at random, again while the norm is over the bound > add noise
    server  sum > scale back > rotate back > divide by the number of nodes

The rotation applies signs from a public seed and then an orthonormal transform. It spreads an update over all
coordinates, so that a field of the sum needs fewer bits. Where we differ: the transform is the real Fourier transform,
of any length, instead of their Walsh-Hadamard transform, of a power of two. And a field is so wide that an overflow is
a fault, never part of the error.

The model is folded by FedAvg (McMahan et al. 2017) or FedAdam (Reddi et al. 2021, arXiv:2003.00295, Algorithm 2).
Chance is an argument: a function that returns n random bytes, `os.urandom` where privacy depends on it.
"""

import hashlib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.federated import discrete_gaussian
from headrace.udfs.federated.discrete_gaussian import Chance
from headrace.udfs.federated.mechanisms import DiscreteGaussianSum

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Width(NamedTuple):
    bits: int
    failure: float  # at most, the chance that any of the round's sums does not fit


class State(NamedTuple):
    """The global model, (d,) each. Momentum and variance are those of FedAdam."""

    model: Float
    momentum: Float
    variance: Float


class FedAvg(NamedTuple):
    rate: float = 1.0


class FedAdam(NamedTuple):
    rate: float = 0.01  # eta
    beta1: float = 0.9
    beta2: float = 0.99
    adaptivity: float = 1e-3  # tau


def protect(update: Float, done: DiscreteGaussianSum, seed: bytes, chance: Chance) -> Int:
    """The integers (d,) that a node may encrypt and send: its update (d,) after everything that `done` describes.

    Raises ValueError for an update of another length.
    """
    if update.shape != (done.dimension,):
        raise ValueError(f"update must have the shape ({done.dimension},), got {update.shape}")
    scaled = rotate(clip(update, done.clip), seed) * done.scale
    rounded = randomised_round(scaled, rounded_norm(done), chance)
    return rounded + discrete_gaussian.sample(done.node_sigma, done.dimension, chance)


def mean(total: Int, nodes: int, done: DiscreteGaussianSum, seed: bytes) -> Float:
    """The mean update of the nodes, (d,), from the opened sum (d,) of what `protect` returned."""
    return unrotate(total / (done.scale * nodes), seed)


def clip(update: Float, norm: float) -> Float:
    """Shortens the update to an L2 norm of at most `norm`. An update without a finite norm becomes zeros.

    Raises ValueError unless norm > 0.
    """
    if not 0 < norm < math.inf:
        raise ValueError(f"norm must be > 0, got {norm}")
    length = float(np.linalg.norm(update))
    if not math.isfinite(length):
        return np.zeros(len(update))
    return update * min(1.0, norm / length) if length else update.astype(np.float64)


def rotate(x: Float, seed: bytes) -> Float:
    """Applies signs, then the orthonormal real Fourier transform. The length and the L2 norm stay those of x."""
    spectrum = np.fft.rfft(x * _signs(seed, len(x)), norm="ortho")
    pairs = (len(x) - 1) // 2  # frequencies with a cosine and a sine
    cosines, sines = spectrum.real[1 : pairs + 1], spectrum.imag[1 : pairs + 1]
    return np.concatenate([spectrum.real[:1], spectrum.real[pairs + 1 :], *(math.sqrt(2) * np.array([cosines, sines]))])


def unrotate(y: Float, seed: bytes) -> Float:
    """The inverse of `rotate`."""
    pairs = (len(y) - 1) // 2
    alone = len(y) - 2 * pairs
    cosines, sines = y[alone:].reshape(2, pairs) / math.sqrt(2)
    spectrum = np.concatenate([y[:1], cosines + 1j * sines, y[1:alone]])
    return np.fft.irfft(spectrum, len(y), norm="ortho") * _signs(seed, len(y))


def _signs(seed: bytes, n: int) -> Float:
    bits = np.frombuffer(hashlib.shake_128(seed).digest(n // 8 + 1), np.uint8)
    return 1.0 - 2.0 * np.unpackbits(bits)[:n]


def rounded_norm(done: DiscreteGaussianSum) -> float:
    """Delta_2 of Kairouz et al., Theorem 1, in integer units. No rounded update is longer."""
    c, d = done.clip * done.scale, done.dimension
    likely = c**2 + d / 4 + math.sqrt(2 * math.log(1 / done.beta)) * (c + math.sqrt(d) / 2)
    return min(math.sqrt(likely), c + math.sqrt(d))


def randomised_round(x: Float, bound: float, chance: Chance) -> Int:
    """Rounds each number up or down at random, so that its mean is the number.

    All numbers are drawn again while their L2 norm exceeds `bound`.
    """
    below = np.floor(x)
    while True:
        uniform = np.frombuffer(chance(8 * len(x)), np.uint64) * 2.0**-64
        rounded: Float = below + (uniform < x - below)
        if rounded @ rounded <= bound**2:
            return rounded.astype(np.int64)


def node_sigma(sigma: float, quorum: int) -> int:
    """The least integer sigma of a node for which the noise of `quorum` nodes has at least the variance sigma^2."""
    return math.ceil(sigma / math.sqrt(quorum))


def share_of_noise(sigma: float, quorum: int, chance: Chance, n: int) -> Int:
    """n numbers of one node's noise. The sum over `quorum` nodes has at least the variance sigma^2."""
    return discrete_gaussian.sample(node_sigma(sigma, quorum), n, chance)


def field_width(nodes: int, done: DiscreteGaussianSum, failure: float = 1e-6) -> Width:
    """The bits of a field for the sum over `nodes` nodes, and the chance that one of the round's sums does not fit.

    A rotated sum of norm A <= nodes c scale is sub-Gaussian with variance 2 A^2 / d in each coordinate, since no entry
    of the transform exceeds sqrt(2 / d). The noise adds nodes sigma^2. Rounding moves each node's number by less than
    1. Raises ValueError if 63 bits are not enough.
    """
    d = done.dimension
    variance = 2 * (nodes * done.clip * done.scale) ** 2 / d + nodes * done.node_sigma**2
    for bits in range(2, 64):
        room = 2 ** (bits - 1) - 1 - nodes
        outside = 2 * d * math.exp(-(room**2) / (2 * variance)) if room > 0 else 1.0
        if outside < failure:
            return Width(bits, outside)
    raise ValueError(f"scale must leave a sum below 63 bits, got {done.scale}")


def new_state(model: Float, rule: FedAvg | FedAdam) -> State:
    """The state before the first round, from a model (d,)."""
    floor = rule.adaptivity**2 if isinstance(rule, FedAdam) else 0.0
    return State(model, np.zeros(len(model)), np.full(len(model), floor))


def fold(state: State, mean_update: Float, rule: FedAvg | FedAdam) -> State:
    """The state after a round. A node's update is its new parameters minus the global ones."""
    if isinstance(rule, FedAvg):
        return state._replace(model=state.model + rule.rate * mean_update)
    momentum = rule.beta1 * state.momentum + (1 - rule.beta1) * mean_update
    variance = rule.beta2 * state.variance + (1 - rule.beta2) * mean_update**2
    step = momentum / (np.sqrt(variance) + rule.adaptivity)
    return State(state.model + rule.rate * step, momentum, variance)


def model_noise(variances: list[float], second: Float, rule: FedAvg | FedAdam) -> float:
    """The variance that the noise of its rounds adds to a number of the model, on average over the numbers.

    variances: of the noise in each round's mean update, in the order of rounds; second: FedAdam's variance after the
    last one. The noise of a round enters the momentum and fades from there, over steps of 1 / (sqrt(variance) + tau).
    The variances of earlier rounds are not known: each is taken to be smaller by as much as its moving average was
    younger.
    """
    if isinstance(rule, FedAvg):
        return rule.rate**2 * sum(variances)
    count, noise = len(variances), 0.0
    share = np.zeros_like(second)
    for n in range(count, 0, -1):
        before = second * (1 - rule.beta2**n) / (1 - rule.beta2**count)
        share = rule.beta1 * share + (1 - rule.beta1) / (np.sqrt(before) + rule.adaptivity)
        noise += variances[n - 1] * float(np.mean(share**2))
    return rule.rate**2 * noise
