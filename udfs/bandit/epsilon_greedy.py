"""The two baselines: epsilon-greedy and uniform."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.udfs.bandit.arms import Floats, Posterior, means
from headrace.udfs.bandit.slate import Chances, Left, best, exact


@dataclass(frozen=True)
class EpsilonGreedy:
    """Takes the highest estimated reward. Its epsilon is the exploration of the slate (udfs/bandit/slate.py)."""

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        return best(means(arms, X))


@dataclass(frozen=True)
class Uniform:
    """Takes each candidate with the same probability."""

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        return lambda left: exact(left / left.sum())
