"""Robust aggregation: medians and trimmed means of buckets' means, so that few hostile nodes cannot lead the model.

Coordinate-wise median and trimmed mean: Yin, Chen, Ramchandran, Bartlett 2018 (arXiv:1803.01498), Definitions 1 and 2;
over means of random buckets instead of single nodes: Karimireddy, He, Jaggi 2022 (arXiv:2006.09365), Algorithm 1, here
without replacement. A bucket is opened as a sum, so it has at least k nodes, and its own full noise: `quorum` = k in
its mechanism. Each hostile node spoils one bucket; the median stands while fewer than half of the buckets are spoilt.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def buckets(nodes: Sequence[str], k: int, seed: bytes) -> list[list[str]]:
    """Disjoint buckets of k nodes or more, of about one size; where a node goes depends on the seed and its id alone.

    Draw the seed after the ids are given, lest hostile nodes choose their company.
    """
    if not 1 <= k <= len(nodes):
        raise ValueError(f"k must be from 1 to the {len(nodes)} nodes, got {k}")
    shuffled = sorted(nodes, key=lambda node: hashlib.sha256(seed + b"/" + node.encode()).digest())
    count = len(nodes) // k
    return [shuffled[at::count] for at in range(count)]


def median(means: Float) -> Float:
    """(buckets, d) -> (d,)."""
    return np.asarray(np.median(means, axis=0))


def trimmed_mean(means: Float, trim: float) -> Float:
    """The mean of each coordinate without the share `trim` of the buckets at either end, rounded up."""
    cut = int(np.ceil(trim * len(means)))
    if not 0 <= 2 * cut < len(means):
        raise ValueError(f"trim must leave one of {len(means)} buckets, got {trim}")
    return np.asarray(np.sort(means, axis=0)[cut : len(means) - cut].mean(axis=0))
