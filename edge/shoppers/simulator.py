"""Shoppers with hidden tastes in a small shop: the same seed gives the same events.

    >>> shop = Shop(seed=7, users=100)
    >>> first = next(shop.clicks(start_ms=1_700_000_000_000, rate=10.0))
    >>> first["user_id"], first["action"]
    ('shopper-82', 'view')

Items and shoppers are vectors of one latent space; items of a category are close together. A shopper clicks an item
with a probability that grows with the dot product. So a recommender that learns tastes earns clicks, and their expected
number is known.
"""

import heapq
import time
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.edge.shoppers.replay import paced

Click = dict[str, Any]
Vector = NDArray[np.float64]

DIMENSIONS = 8
CATEGORIES = ("lamps", "chairs", "tables", "rugs", "mugs", "plants", "posters", "clocks", "shelves", "blankets")
DEVICES = ("phone", "desktop", "tablet")
LOCATIONS = ("NL", "DE", "FR", "GB", "US")
CLICK_LOGIT = -2.5  # of an item to which the shopper is indifferent
DISLIKED = 0.03  # items less likely than this to be clicked may be disliked
SEARCHES = 0.3  # share of sessions that begin with a search
VIEWS_MEAN = 6.0  # items in a session
PAUSE_MEAN_S, PAUSE_SPREAD = 9.0, 1.0  # log-normal: most pauses are short, a few are long
CLICKS_PER_DAY = 20  # of a shopper, in two sessions
DAY_S = 86_400
_PAUSES_SCALE = PAUSE_MEAN_S / float(np.exp(PAUSE_SPREAD**2 / 2))  # a log-normal's mean is exp(spread^2 / 2)


class Item(NamedTuple):
    item_id: str
    category: str
    price: float
    vector: Vector  # (DIMENSIONS,)


class Shopper(NamedTuple):
    user_id: str
    taste: Vector  # (DIMENSIONS,)
    device: str
    location: str

    def click_probability(self, item: Item) -> float:
        """The probability that the shopper clicks the item when it is shown."""
        return float(self.click_probabilities(item.vector))

    def click_probabilities(self, vectors: Vector) -> Vector:
        """The same for item vectors: (..., DIMENSIONS) -> (...,)."""
        probabilities: Vector = 1.0 / (1.0 + np.exp(-CLICK_LOGIT - vectors @ self.taste))
        return probabilities


class Shop:
    """A catalogue and the people who visit it."""

    def __init__(self, seed: int, users: int = 1000, items: int = 500) -> None:
        _positive("users", users)
        _positive("items", items)
        self.users, self._seed = users, seed
        rng = np.random.default_rng(seed)
        category = np.arange(items) % len(CATEGORIES)
        self._centres = rng.normal(size=(len(CATEGORIES), DIMENSIONS))
        self._vectors = self._centres[category] + 0.5 * rng.normal(size=(items, DIMENSIONS))
        prices = np.round(rng.lognormal(3.0, 0.8, items), 2).tolist()
        self.items = [Item(f"item-{n}", CATEGORIES[category[n]], prices[n], self._vectors[n]) for n in range(items)]
        self._shelves = [np.flatnonzero(category == c) for c in range(min(items, len(CATEGORIES)))]
        self._tastes = 0.7 * rng.normal(size=(users, DIMENSIONS))
        self._devices = rng.choice(DEVICES, users).tolist()
        self._locations = rng.choice(LOCATIONS, users).tolist()

    def shopper(self, n: int) -> Shopper:
        return Shopper(f"shopper-{n}", self._tastes[n], self._devices[n], self._locations[n])

    def clicks(self, start_ms: int, rate: float) -> Iterator[Click]:
        """Yields clicks without an end, `rate` per second, in time order. Few shoppers at a high rate hurry.

        Raises ValueError unless rate > 0.
        """
        _positive("rate", rate)
        return self._clicks(start_ms, rate)

    def _clicks(self, start_ms: int, rate: float) -> Iterator[Click]:
        rng = np.random.default_rng([self._seed, 1])
        inside = min(self.users, max(1, round(rate * PAUSE_MEAN_S)))
        pause_unit_ms = 1000 * inside / (rate * PAUSE_MEAN_S)
        outside, visits = deque(rng.permutation(self.users).tolist()), count()
        doors = [self._visitors(outside, visits, rng) for _ in range(inside)]
        queue = [(start_ms + at_s * pause_unit_ms, n) for n, at_s in enumerate(rng.exponential(PAUSE_MEAN_S, inside))]
        heapq.heapify(queue)
        for event in count():
            at_ms, door = queue[0]
            click, pause_s = next(doors[door])
            heapq.heapreplace(queue, (at_ms + pause_s * pause_unit_ms, door))
            yield {"event_id": f"simulated-{self._seed}-{start_ms}-{event}", "ts_ms": int(at_ms)} | click

    def _visitors(
        self, outside: deque[int], visits: Iterator[int], rng: np.random.Generator
    ) -> Iterator[tuple[Click, float]]:
        """Yields (click, pause in s) of one shopper after another, each for one session.

        The shopper who has waited longest comes first.
        """
        while True:
            user = outside.popleft()
            session: Click = {"user_id": f"shopper-{user}", "session_id": f"visit-{self._seed}-{next(visits)}"}
            steps = self._visit(self.shopper(user), rng)
            pauses_s = _PAUSES_SCALE * rng.lognormal(0.0, PAUSE_SPREAD, len(steps))
            for position, (step, pause_s) in enumerate(zip(steps, pauses_s.tolist(), strict=True)):
                yield session | {"session_position": position} | step, pause_s
            outside.append(user)

    def _visit(self, shopper: Shopper, rng: np.random.Generator) -> list[Click]:
        """One session: perhaps a search, then items of one category, one after another."""
        appeal = np.exp(self._centres[: len(self._shelves)] @ shopper.taste)
        category = int(np.searchsorted(np.cumsum(appeal), rng.random() * appeal.sum()))
        page = {"device": shopper.device, "location": shopper.location}
        steps: list[Click] = []
        if rng.random() < SEARCHES:
            steps.append(page | {"item_id": "home", "action": "search", "query": CATEGORIES[category]})
        shelf = self._shelves[category]
        # Squaring a uniform number favours the front of the shelf: popularity.
        seen = shelf[(rng.random(rng.geometric(1 / VIEWS_MEAN)) ** 2 * len(shelf)).astype(int)]
        liking = shopper.click_probabilities(self._vectors[seen])
        for n, p, chance in zip(seen.tolist(), liking.tolist(), rng.random((len(seen), 4)).tolist(), strict=True):
            item = self.items[n]
            shown = page | {"item_id": item.item_id, "category": item.category, "price": item.price}
            steps += [shown | action for action in _reactions(p, chance)]
        return steps


def _reactions(p: float, chance: list[float]) -> Iterator[Click]:
    """Yields what a shopper does with an item that they click with probability p; `chance` is uniform (4,)."""
    yield {"action": "view"}
    if chance[0] >= p:
        if p < DISLIKED and chance[1] < 0.2:
            yield {"action": "dislike"}
        return
    yield {"action": "click"}
    if chance[2] < 0.5 * p:
        yield {"action": "like"}
    if chance[3] < 0.45 * p:
        quantity = {"quantity": 1 + int(chance[1] < 0.2)}
        yield {"action": "cart"} | quantity
        if chance[3] < 0.3 * p:
            yield {"action": "purchase"} | quantity
        elif chance[1] < 0.5:
            yield {"action": "uncart"} | quantity


def in_real_time(shop: Shop, rate: float) -> Iterator[Click]:
    """Yields each click at its time, from now on."""
    return paced(shop.clicks(_now_ms(), rate), speedup=1, retime=True)


def in_the_past(shop: Shop, events: int) -> Iterator[Click]:
    """Yields clicks of the last days or weeks, in which shoppers came twice a day. `events` of them are before now."""
    rate = shop.users * CLICKS_PER_DAY / DAY_S
    return shop.clicks(_now_ms() - int(1000 * (1.1 * events / rate + DAY_S)), rate)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _positive(name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be > 0, got {value}")
