"""Disjoint LinUCB: one ridge regression per arm, ranked by an upper confidence bound.

Li, Chu, Langford, Schapire 2010 (arXiv:1003.0146), Algorithm 1: theta_a . x + alpha sqrt(x' A_a^-1 x).

Where we differ: the sums are kept elsewhere (udfs/bandit/arms.py), ridge need not be 1, and exact ties share their
probability.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.udfs.bandit.arms import Floats, Posterior, means, variances
from headrace.udfs.bandit.slate import Chances, Left, best


@dataclass(frozen=True)
class LinUCB:
    alpha: float = 1.0  # standard deviations

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise ValueError(f"alpha must be >= 0, got {self.alpha}")

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        return best(means(arms, X) + self.alpha * np.sqrt(variances(arms, X)))
