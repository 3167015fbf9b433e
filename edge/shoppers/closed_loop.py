"""Simulated shoppers in front of the read SDK: they see lists, and click by their hidden tastes.

    >>> loop = ClosedLoop(shop, arms(shop, redis, tracker, chooser), tracker, seed=1)   # doctest: +SKIP
    >>> seen = loop.step()                                                              # doctest: +SKIP
    >>> seen.arm, seen.clicked, round(seen.expected, 2), round(seen.best, 2)            # doctest: +SKIP
    ('popular', ('item-7',), 0.18, 0.71)

edge/shoppers/simulator.py makes the shoppers. The arm of each slate is drawn again. So all arms meet the same shoppers
in the same seconds, and no arm's click rate depends on who came when. Clicks go through the tracker with the slate's
impression_id, like those of a real shop.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from headrace.edge.policies import name_of, policy
from headrace.edge.recommendations import Recommendations, Shown
from headrace.edge.shoppers.simulator import Item, Shop, Shopper, Vector
from headrace.edge.tracker import Tracker
from headrace.udfs.bandit.slate import Chooser

if TYPE_CHECKING:
    from redis import Redis

SURFACE = "simulated"
POPULAR, RANDOM = "popular", "random"
Z_95 = 1.96


class Outcome(NamedTuple):
    """One slate, and what its shopper did. The last three are click rates of its items."""

    arm: str
    shown: Shown
    clicked: tuple[str, ...]
    rate: float
    expected: float  # by the shopper's hidden probabilities: the rate without the luck of the draw
    best: float  # the expected rate of the best slate for this shopper


class Rate(NamedTuple):
    """The mean rate of slates. Slates are drawn independently, the items of one slate are not."""

    slates: int = 0
    total: float = 0.0
    squares: float = 0.0

    def seen(self, rate: float) -> Self:
        """With one more slate of this rate."""
        return self._replace(slates=self.slates + 1, total=self.total + rate, squares=self.squares + rate * rate)

    def merge(self, other: Self) -> Self:
        return self._replace(
            slates=self.slates + other.slates, total=self.total + other.total, squares=self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.slates if self.slates else 0.0

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval around the mean. 1 while there are fewer than two slates."""
        if self.slates < 2:
            return 1.0
        variance = max(self.squares - self.total * self.mean, 0.0) / (self.slates - 1)
        return float(Z_95 * np.sqrt(variance / self.slates))


def arms(shop: Shop, redis: "Redis", tracker: Tracker, chooser: Chooser, **options: Any) -> dict[str, Recommendations]:
    """Three ways to show items of one list, by name: a bandit, the popular list as it is, and chance."""
    options |= {"catalogue": {item.item_id: {"category": item.category} for item in shop.items}}
    options |= {"sources": ("popular",), "candidates": len(shop.items), "strict": True}
    chance = Chooser(policy("uniform"), exploration=0.0, new_exposure=0.0)
    return {
        name_of(chooser.policy): Recommendations(redis, tracker, chooser, **options),
        POPULAR: Recommendations(redis, tracker, name=POPULAR, **options),
        RANDOM: Recommendations(redis, tracker, chance, name=RANDOM, **options),
    }


class ClosedLoop:
    """Shows slates to shoppers: `inside` of them at a time, `visit` slates to each.

    After a visit, the shopper who has been away longest comes in.
    """

    def __init__(
        self,
        shop: Shop,
        arms: Mapping[str, Recommendations],
        tracker: Tracker,
        *,
        seed: int,
        prefix: str = "",  # of user ids, so that the shoppers of two runs differ
        inside: int = 60,
        visit: int = 8,
        slate: int = 5,
    ) -> None:
        self._shop, self._arms, self._tracker = shop, dict(arms), tracker
        self._prefix, self._visit, self._slate = prefix, visit, slate
        self._rng = np.random.default_rng(seed)
        self._items = {item.item_id: item for item in shop.items}
        self._vectors = np.stack([item.vector for item in shop.items])
        self._outside = deque(self._rng.permutation(shop.users).tolist())
        self._inside = deque((self._outside.popleft(), visit) for _ in range(min(inside, shop.users)))

    def step(self) -> Outcome:
        """The next slate, and what its shopper does."""
        visitor, left = self._inside.popleft()
        outcome = self._show(self._shop.shopper(visitor))
        if left == 1:
            self._outside.append(visitor)
            visitor, left = self._outside.popleft(), self._visit + 1
        self._inside.append((visitor, left - 1))
        return outcome

    def _show(self, shopper: Shopper) -> Outcome:
        name = list(self._arms)[self._rng.integers(len(self._arms))]
        user, page = self._prefix + shopper.user_id, {"device": shopper.device}
        shown = self._arms[name].for_user(user, self._slate, surface=SURFACE, environment=page, rng=self._rng)
        chances = self._chances(shopper, shown)
        draws = self._rng.random(len(chances)) < chances
        clicked = tuple(entry.item for entry, clicks in zip(shown.items, draws.tolist(), strict=True) if clicks)
        for item in clicked:
            self._click(shopper, user, self._items[item], shown.impression_id)
        best = np.sort(shopper.click_probabilities(self._vectors))[-self._slate :]
        rate, expected = (float(np.mean(values)) if shown.items else 0.0 for values in (draws, chances))
        return Outcome(name, shown, clicked, rate, expected, float(best.mean()))

    def _chances(self, shopper: Shopper, shown: Shown) -> Vector:
        """The probability of a click on each shown item. An item of another version, which the shop lacks, gets 0."""
        items = [self._items.get(entry.item) for entry in shown.items]
        return np.array([shopper.click_probability(item) if item else 0.0 for item in items])

    def _click(self, shopper: Shopper, user: str, item: Item, impression_id: str | None) -> None:
        self._tracker.track(
            user,
            item.item_id,
            "click",
            impression_id=impression_id,
            category=item.category,
            price=item.price,
            device=shopper.device,
            location=shopper.location,
        )
