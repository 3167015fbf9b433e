"""The shoppers of the simulated shop (edge/shoppers/simulator), their contexts, and what each item would earn if shown.

There is a recommendation beside each page that a shopper views. Contexts are those of
headrace.udfs.bandit.context.SHOPPER.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from headrace.edge.shoppers.simulator import DISLIKED, Item, Shop
from headrace.udfs.bandit.arms import REWARD_MAX, Floats, quantise
from headrace.udfs.bandit.context import SHOPPER
from headrace.udfs.bandit.reward import ACTIONS, RewardRule

ITEMS, SHOPPERS = 12, 500
WARM_UP = 2_000  # clicks from which the shop knows which items are popular
START_MS = 1_700_000_000_000


class World(NamedTuple):
    """What n choices among k items can bring; what is shown changes no shopper."""

    t_s: Floats  # (n,)
    X: Floats  # (n, k, d)
    p: Floats  # (n, k), click probabilities
    rewards: Floats  # (n, k)


@dataclass
class Visit:
    """What session:{user} says of a shopper's session, as far as SHOPPER reads it."""

    session_id: str
    start_ms: int
    end_ms: int = 0
    category: str | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, click: dict[str, Any]) -> None:
        self.end_ms, self.category = click["ts_ms"], click.get("category", self.category)
        self.counts[click["action"]] += 1

    def fields(self) -> dict[str, Any]:
        events, length_ms = self.counts.total(), self.end_ms - self.start_ms
        rates = {f"rate_{action}": self.counts[action] / events for action in ("click", "purchase")}
        dwell_s = length_ms / 1000 / (events - 1) if events > 1 else 0.0
        shown = {"events": events, "duration_h": length_ms / 3_600_000, "mean_dwell_s": dwell_s}
        return shown | {"category": self.category} | rates


def world(seed: int, choices: int, rate: float) -> World:
    shop, rng = Shop(seed, SHOPPERS, ITEMS), np.random.default_rng([seed, 2])
    clicks = shop.clicks(START_MS, rate)
    views = Counter(click["item_id"] for click in islice(clicks, WARM_UP) if click["action"] == "view")
    items = [_fields(item, views) for item in shop.items]
    vectors = np.array([item.vector for item in shop.items])
    visits: dict[str, Visit] = {}
    t_s: list[float] = []
    X, p = [], []
    while len(t_s) < choices:
        click = next(clicks)
        user = click["user_id"]
        if user not in visits or visits[user].session_id != click["session_id"]:
            visits[user] = Visit(click["session_id"], click["ts_ms"])
        visits[user].add(click)
        if click["action"] == "view":
            shopper = shop.shopper(int(user.partition("-")[2]))
            X.append(SHOPPER.encode(visits[user].fields(), items, {"device": shopper.device}, click["ts_ms"]))
            p.append(shopper.click_probabilities(vectors))
            t_s.append(click["ts_ms"] / 1000)
    probabilities = np.array(p)
    return World(np.array(t_s), np.array(X), probabilities, rewards(probabilities, rng))


def _fields(item: Item, views: Counter[str]) -> dict[str, Any]:
    return {"category": item.category, "popularity": views[item.item_id] / max(views.values())}


def rewards(p: Floats, rng: np.random.Generator) -> Floats:
    """What showing each item would earn, (n, k): the simulator's reactions, later than fast_ms after the impression."""
    worth = dict(zip(ACTIONS, RewardRule().table[:, 0, 0].tolist(), strict=True))
    chance = rng.random((4, len(p), 1))  # one throw of the dice for all items
    clicked = np.where(chance[2] < 0.5 * p, worth["like"], worth["click"])
    clicked = np.where(chance[3] < 0.3 * p, worth["purchase"], clicked)
    passed = np.where((p < DISLIKED) & (chance[1] < 0.2), worth["dislike"], 0.0)
    return quantise(np.where(chance[0] < p, clicked, passed), REWARD_MAX)
