"""How far one sample has moved from another.

    psi   sum over categories of (p - q) ln(p / q): the population stability index, which is Jeffreys' divergence
          (Kullback, Leibler 1951). It comes from credit scoring, whose rule of thumb (Siddiqi 2006) is: below 0.1
          nothing moved, above 0.25 much did.

Where we differ: each category counts half an observation more in both samples (Krichevsky, Trofimov 1981). So a
category that is empty on one side gives a finite number.
"""

from collections.abc import Mapping

import numpy as np


def psi(reference: Mapping[str, int], sample: Mapping[str, int]) -> float:
    """The population stability index of two samples, each a count by category. It has no unit; 0 is the same shares.

    Raises ValueError if both are empty.
    """
    categories = sorted(reference.keys() | sample.keys())
    if not categories:
        raise ValueError("reference and sample must hold at least one category, got none")
    counts = np.array([[side.get(name, 0) + 0.5 for name in categories] for side in (reference, sample)])
    q, p = counts / counts.sum(axis=1, keepdims=True)
    return float((p - q) @ np.log(p / q))
