"""How far one sample has moved from another.

    psi   sum over categories of (p - q) ln(p / q): the population stability index, which is Jeffreys' divergence
          (Kullback, Leibler 1951). It comes from credit scoring, whose rule of thumb (Siddiqi 2006) is: below 0.1
          nothing moved, above 0.25 much did.

Where we differ: each category counts half an observation more in both samples (Krichevsky, Trofimov 1981). So a
category that is empty on one side gives a finite number.

Two samples of one distribution are apart, too: by about (K - 1) (1 / n + 1 / m) for K categories that are all seen
often (Yurdakul 2018), by less where many are seen once. `by_chance` says how far, for any counts: it deals the
observations of both out to the sides anew (a permutation test; Fisher 1935). Observations are taken as independent.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DEALS = 100


def psi(reference: Mapping[str, int], sample: Mapping[str, int]) -> float:
    """The population stability index of two samples, each a count by category. It has no unit; 0 is the same shares.

    Raises ValueError if both are empty.
    """
    return _psi(_counts(reference, sample))


def by_chance(reference: Mapping[str, int], sample: Mapping[str, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """The indices (DEALS,) of pairs of samples of the same sizes whose difference is chance alone.

    Each observation of a category falls on a side with the chance of that side's size, so sizes vary a little. Raises
    ValueError if both are empty.
    """
    counts = _counts(reference, sample)
    pooled, share = counts.sum(axis=0), counts[0].sum() / counts.sum()
    dealt = (rng.binomial(pooled, share) for _ in range(DEALS))
    return np.array([_psi(np.stack([one, pooled - one])) for one in dealt])


def _counts(reference: Mapping[str, int], sample: Mapping[str, int]) -> NDArray[np.int64]:
    """Returns (2, categories) counts. Raises ValueError without a category."""
    categories = sorted(reference.keys() | sample.keys())
    if not categories:
        raise ValueError("reference and sample must hold at least one category, got none")
    return np.array([[side.get(name, 0) for name in categories] for side in (reference, sample)], np.int64)


def _psi(counts: NDArray[np.int64]) -> float:
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    q, p = shares
    return float((p - q) @ np.log(p / q))
