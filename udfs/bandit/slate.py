"""Choosing a slate, and the exact probability of what was chosen.

A policy gives, for the candidates still left, the probability with which it would pick each. At every position the
slate mixes it with exploration, draws from the mixture, and logs

    P(item | items above) = (1 - e - g) policy + e / |left| + g / |new left| [item is new]

e: exploration, the same for every candidate left. g: the guard, which gives new items (n below new_below) new_exposure
each as far as e + g <= exploration_max. The item is drawn from these very numbers, so the propensity is exact by
construction where the policy's probabilities are; the tests compare those with the policies themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.udfs.bandit.arms import Floats, Posterior, quantise, stack

Left = NDArray[np.bool_]


class Chances(NamedTuple):
    """For each of k candidates; both 0 for one that is not left."""

    p: Floats  # (k,), sums to 1
    error: Floats  # (k,), standard error of p; 0 unless p comes from draws


class Policy(Protocol):
    def chances(self, arms: Posterior, X: Floats, rng: np.random.Generator) -> Callable[[Left], Chances]:
        """From posteriors and contexts (k, d) of the candidates: left (k,) -> the chances of those left, at least one.

        Draws of the policy's are fresh and independent at each position.
        """


class Slate(NamedTuple):
    """s items, best place first, and what an impression logs of each."""

    items: tuple[str, ...]
    propensities: Floats  # (s,)
    propensity_errors: Floats  # (s,), standard errors, 0 where the propensity is exact
    contexts: Floats  # (s, d), as the policy saw them


@dataclass(frozen=True)
class Chooser:
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
        """contexts: (k, d), or (d,) for all. An arm without a posterior has the prior. At most k items."""
        _check(candidates, slate_size)
        order = sorted(range(len(candidates)), key=candidates.__getitem__)  # so that their order has no effect
        items = [candidates[i] for i in order]
        given = np.asarray(contexts, np.float64)
        X = quantise(np.broadcast_to(given, (len(items), given.shape[-1])))[order]
        arms = stack(posteriors, items, X.shape[1], self.ridge)
        chances = self.policy.chances(arms, X, rng)
        left = np.ones(len(items), bool)
        places, logged = [], []
        for _ in range(min(slate_size, len(items))):
            mixed = self.mix(chances(left), left, arms.n)
            place = draw(mixed.p, rng.random())
            left[place] = False
            places.append(place)
            logged.append((mixed.p[place], mixed.error[place]))
        propensities, errors = np.array(logged).T
        return Slate(tuple(items[i] for i in places), propensities, errors, X[places])

    def mix(self, chances: Chances, left: Left, n: Floats) -> Chances:
        """The policy's chances mixed with exploration and the guard; all (k,)."""
        new = left & (n < self.new_below)
        guard = min(self.new_exposure * new.sum(), self.exploration_max - self.exploration)
        share = 1 - self.exploration - guard
        explored = self.exploration * left / left.sum() + guard * new / max(new.sum(), 1)
        return Chances(np.minimum(share * chances.p + explored, 1.0), share * chances.error)


def draw(p: Floats, u: float) -> int:
    """A place with the probabilities p (k,), from u uniform in [0, 1); never one with probability 0."""
    heights = np.cumsum(p)
    return int(np.searchsorted(heights / heights[-1], u, side="right"))


def best(scores: Floats) -> Callable[[Left], Chances]:
    """Always the highest score left; equal ones share evenly. scores (k,)"""

    def chances(left: Left) -> Chances:
        top = left & (scores == scores[left].max())
        return exact(top / top.sum())

    return chances


def exact(p: Floats) -> Chances:
    return Chances(p, np.zeros_like(p))


def _check(candidates: Sequence[str], slate_size: int) -> None:
    names = set(candidates)
    if not names or len(names) != len(candidates):
        raise ValueError(f"candidates must be distinct, at least one, got {len(candidates)} of {len(names)} names")
    if slate_size < 1:
        raise ValueError(f"slate_size must be >= 1, got {slate_size}")
