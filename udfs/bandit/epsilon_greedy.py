"""The two baselines: epsilon-greedy and uniform."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.udfs.bandit.arms import Floats, Posterior, means
from headrace.udfs.bandit.slate import Chances, Left, best, exact


@dataclass(frozen=True)
class EpsilonGreedy:
    """The highest estimated reward; epsilon is the exploration that the slate mixes into every policy
    (udfs/bandit/slate).
    """

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        return best(means(arms, X))


@dataclass(frozen=True)
class Uniform:
    """Each candidate alike."""

    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        return lambda left: exact(left / left.sum())
