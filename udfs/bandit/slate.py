"""Chooses a slate, and logs the exact probability of each choice.

A policy gives each candidate that is still left the probability with which it would pick it. At every position the
slate mixes these probabilities with exploration, draws from the mixture, and logs

    P(item | items above) = (1 - e - g) policy + e / |left| + g / |new left| [item is new]

e is the exploration, the same for every candidate left. g is the guard: it gives each new item (n below new_below)
new_exposure, as far as e + g <= exploration_max. The item is drawn from these very numbers. So the propensity is exact
by construction where the policy's probabilities are; the tests compare those with the policies themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.udfs.bandit.arms import Floats, Posterior, quantise, stack

Left = NDArray[np.bool_]


class Chances(NamedTuple):
    """The probabilities of k candidates. Both columns are 0 for a candidate that is not left."""

    p: Floats  # (k,), sums to 1
    error: Floats  # (k,), standard error of p; 0 unless p comes from draws


class Policy(Protocol):
    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        """Returns a function of the candidates that are left, (k,), at least one: it gives their chances.

        arms, X (k, d): the posteriors and contexts of the candidates. The policy's own draws are fresh and independent
        at each position.
        """


class Slate(NamedTuple):
    """s items, best position first, and what an impression logs of each."""

    items: tuple[str, ...]
    propensities: Floats  # (s,)
    propensity_errors: Floats  # (s,), standard errors, 0 where the propensity is exact
    contexts: Floats  # (s, d), as the policy saw them


@dataclass(frozen=True)
class Chooser:
    """A policy with its exploration. Raises ValueError if a share is out of range."""

    policy: Policy
    exploration: float = 0.1
    exploration_max: float = 0.2
    new_below: float = 50.0  # impressions
    new_exposure: float = 0.01  # probability of each new item at each position
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.exploration <= self.exploration_max <= 1:
            raise ValueError(
                "exploration must satisfy 0 <= exploration <= exploration_max <= 1, "
                f"got {self.exploration} and {self.exploration_max}"
            )
        if not 0 <= self.new_exposure <= 1:
            raise ValueError(f"new_exposure must be within [0, 1], got {self.new_exposure}")

    def choose(
        self,
        candidates: Sequence[str],
        contexts: ArrayLike,
        posteriors: Mapping[str, Posterior],
        rng: np.random.Generator,
        slate_size: int,
    ) -> Slate:
        """Chooses slate_size of the k candidates, or all k if they are fewer.

        contexts: (k, d), or (d,) for all. An arm without a posterior gets the prior. Raises ValueError if candidates
        repeat or are none, or if slate_size is below 1.
        """
        _check(candidates, slate_size)
        order = sorted(range(len(candidates)), key=candidates.__getitem__)  # so that the given order has no effect
        items = [candidates[i] for i in order]
        given = np.asarray(contexts, np.float64)
        X = quantise(np.broadcast_to(given, (len(items), given.shape[-1])))[order]
        arms = stack(posteriors, items, X.shape[1], self.ridge)
        chances = self.policy.chances(arms, X, rng)
        left = np.ones(len(items), bool)
        chosen, logged = [], []
        for _ in range(min(slate_size, len(items))):
            mixed = self.mix(chances(left), left, arms.n)
            index = draw(mixed.p, rng.random())
            left[index] = False
            chosen.append(index)
            logged.append((mixed.p[index], mixed.error[index]))
        propensities, errors = np.array(logged).T
        return Slate(tuple(items[i] for i in chosen), propensities, errors, X[chosen])

    def mix(self, chances: Chances, left: Left, n: Floats) -> Chances:
        """Mixes the policy's chances with exploration and the guard. All are (k,)."""
        new = left & (n < self.new_below)
        guard = min(self.new_exposure * new.sum(), self.exploration_max - self.exploration)
        share = 1 - self.exploration - guard
        explored = self.exploration * left / left.sum() + guard * new / max(new.sum(), 1)
        return Chances(np.minimum(share * chances.p + explored, 1.0), share * chances.error)


def draw(p: Floats, u: float) -> int:
    """Draws an index with the probabilities p (k,), from u uniform in [0, 1). Never one of probability 0."""
    heights = np.cumsum(p)
    return int(np.searchsorted(heights / heights[-1], u, side="right"))


def best(scores: Floats) -> Callable[[Left], Chances]:
    """Always takes the highest score left. Equal ones share the probability evenly. scores (k,)."""

    def chances(left: Left) -> Chances:
        top = left & (scores == scores[left].max())
        return exact(top / top.sum())

    return chances


def exact(p: Floats) -> Chances:
    """Chances without an error: p (k,) is computed, not drawn."""
    return Chances(p, np.zeros_like(p))


def _check(candidates: Sequence[str], slate_size: int) -> None:
    names = set(candidates)
    if not names or len(names) != len(candidates):
        raise ValueError(f"candidates must be distinct, at least one, got {len(candidates)} of {len(names)} names")
    if slate_size < 1:
        raise ValueError(f"slate_size must be >= 1, got {slate_size}")
