"""The reward of an impression, from the feedback on it.

`RewardRule` describes, the functions interpret; docs/bandit.md defines each term. Rewards are multiples of 2^-12, so
that their sums are exact (udfs/bandit/arms.py). The reward of an impression depends on the set of feedback events so
far: their order and their repeats change nothing.

    >>> impression([Feedback("click", elapsed_ms=4_000, session_position=3)], RewardRule())
    1.199951171875
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.schemas import enum
from headrace.udfs.bandit.arms import REWARD_MAX, Floats, quantise

ACTIONS = tuple(enum("click", "action"))
_CODES = {action: code for code, action in enumerate(ACTIONS)}
_VALUES = {"click": 1.0, "view": 0.5, "like": 2.0, "share": 3.0, "cart": 5.0, "purchase": 10.0}
_VALUES |= {"dislike": -1.0, "block": -5.0}
RETURNABLE = ("purchase", "cart")  # actions that a refund or an uncart takes back


@dataclass(frozen=True)
class RewardRule:
    """What each action on a shown item is worth. An action that is not named is worth 0.

    Raises ValueError if a number is negative or not finite, an action unknown, or a reward beyond 16.
    """

    values: Mapping[str, float] = field(default_factory=lambda: dict(_VALUES))
    fast_ms: int = 10_000
    fast_factor: float = 1.2
    first_factor: float = 1.1
    reward_delay_ms: int = 300_000

    def __post_init__(self) -> None:
        for name, value in self._numbers():
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        for action, value in self.values.items():
            if action not in _CODES:
                raise ValueError(f"values must name actions of schemas/click.avsc, got {action!r}")
            extreme = value * max(1.0, self.fast_factor) * max(1.0, self.first_factor) if value > 0 else value
            if not -REWARD_MAX <= extreme <= REWARD_MAX:
                raise ValueError(f"values[{action}]: rewards must lie within [-16, 16], got {extreme}")

    def _numbers(self) -> list[tuple[str, float]]:
        names = ("fast_ms", "fast_factor", "first_factor", "reward_delay_ms")
        returnable = [(f"values[{action}]", self.values.get(action, 0.0)) for action in RETURNABLE]
        return returnable + [(name, getattr(self, name)) for name in names]

    @cached_property
    def table(self) -> Floats:
        """All rewards that can occur, (actions, 2, 2): of each (action, is fast, is first of its session)."""
        value = np.array([self.values.get(action, 0.0) for action in ACTIONS])[:, None, None]
        factor = np.outer([1.0, self.fast_factor], [1.0, self.first_factor])
        return quantise(np.where(value > 0, value * factor, value), REWARD_MAX)


class Feedback(NamedTuple):
    """One event on a shown item."""

    action: str
    elapsed_ms: int  # from the impression's t to the feedback's
    session_position: int | None


def counts(elapsed_ms: ArrayLike, rule: RewardRule) -> NDArray[np.bool_]:
    """Whether feedback comes in time, in the shape of elapsed_ms."""
    elapsed = np.asarray(elapsed_ms)
    return (elapsed >= 0) & (elapsed <= rule.reward_delay_ms)


def feedback(event: Feedback, rule: RewardRule) -> float:
    """The reward of one event that counts."""
    fast, first = event.elapsed_ms <= rule.fast_ms, event.session_position == 0
    return float(rule.table[_CODES[event.action], int(fast), int(first)])


def feedbacks(actions: Sequence[str], elapsed_ms: ArrayLike, session_positions: ArrayLike, rule: RewardRule) -> Floats:
    """The rewards of n events that count, (n,), from columns of n. A position may be None or NaN."""
    codes = [_CODES[action] for action in actions]
    fast = np.asarray(elapsed_ms) <= rule.fast_ms
    first = np.asarray(session_positions) == 0
    return rule.table[codes, fast.astype(int), first.astype(int)]


def impression(events: Iterable[Feedback], rule: RewardRule) -> float:
    """The reward of one impression, given all feedback on it."""
    counted = [event for event in events if counts(event.elapsed_ms, rule)]
    actions = {event.action for event in counted}
    if "refund" in actions or ("uncart" in actions and "purchase" not in actions):
        counted = [event for event in counted if event.action not in RETURNABLE]
    rewards = [feedback(event, rule) for event in counted]
    return min(rewards) if min(rewards, default=0.0) < 0 else max(rewards, default=0.0)


def impressions(lowest: ArrayLike, kept: ArrayLike, highest: ArrayLike, returned: ArrayLike) -> Floats:
    """The rewards of n impressions, (n,), from what the job keeps of each one. The impression itself counts as 0.

    lowest, highest: of all feedback that counts; kept: the highest of what is not RETURNABLE; returned: whether there
    is a refund, or an uncart without a purchase. All (n,).
    """
    lowest = np.asarray(lowest, np.float64)
    return np.where(lowest < 0, lowest, np.where(np.asarray(returned, bool), kept, highest))
