"""Robust aggregation: medians and trimmed means of buckets' means, so that few hostile nodes cannot steer the model.

The coordinate-wise median and trimmed mean are those of Yin, Chen, Ramchandran, Bartlett 2018 (arXiv:1803.01498),
Definitions 1 and 2. They are taken over means of random buckets instead of single nodes, as in Karimireddy, He, Jaggi
2022 (arXiv:2006.09365), Algorithm 1, here without replacement. A bucket is opened as a sum, so it has at least k nodes
and its own full noise: `quorum` = k in its mechanism. Each hostile node spoils one bucket, and the median holds while
fewer than half of the buckets are spoilt.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def buckets(nodes: Sequence[str], k: int, seed: bytes) -> list[list[str]]:
    """Splits nodes into disjoint buckets of at least k, of about one size, in an order by hash of seed and id.

    Draw the seed after the ids are known. Otherwise hostile nodes could choose who is in their bucket.
    Raises ValueError unless 1 <= k <= the number of nodes.
    """
    if not 1 <= k <= len(nodes):
        raise ValueError(f"k must be from 1 to the {len(nodes)} nodes, got {k}")
    shuffled = sorted(nodes, key=lambda node: hashlib.sha256(seed + b"/" + node.encode()).digest())
    count = len(nodes) // k
    return [shuffled[at::count] for at in range(count)]


def median(means: Float) -> Float:
    """The median of each coordinate: (buckets, d) -> (d,)."""
    return np.asarray(np.median(means, axis=0))


def trimmed_mean(means: Float, trim: float) -> Float:
    """The mean of each coordinate without the lowest and the highest buckets: (buckets, d) -> (d,).

    At either end the share `trim` of the buckets is left out, rounded up. Raises ValueError if none is left.
    """
    cut = int(np.ceil(trim * len(means)))
    if not 0 <= 2 * cut < len(means):
        raise ValueError(f"trim must leave one of {len(means)} buckets, got {trim}")
    return np.asarray(np.sort(means, axis=0)[cut : len(means) - cut].mean(axis=0))
