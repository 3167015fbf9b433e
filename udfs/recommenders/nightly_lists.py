"""The lists that a night makes: one per user, from all they did, and one per item, of the items most like it.

A user's list holds n of the model's best `candidates`, without items that were seen or are left out;
udfs/factors/diversity.py picks the n. The reason of an item is what the model names (`explain`). An item's list holds
the n others most like it. docs/night.md, "Precompute".
"""

from typing import NamedTuple

import numpy as np

from headrace.schemas.lists import DECIMALS, Entry, Listed, encode
from headrace.udfs.factors import diversity
from headrace.udfs.factors.als import Float, Int
from headrace.udfs.factors.diversity import DiversityRule, Groups, Likeness
from headrace.udfs.factors.top_n import NONE
from headrace.udfs.recommenders.contract import Lists, Past, Recommender


class Catalogue(NamedTuple):
    """One version of a model, with what is known once for all lists."""

    version: str
    as_of_ms: int
    recommender: Recommender
    allowed: Int  # places of the items that a list may hold, ascending
    likeness: Likeness | None = None  # of items; None: nothing is known, and no item is like another
    groups: Groups | None = None


class ListWish(NamedTuple):
    n: int
    candidates: int
    rule: DiversityRule


def chosen(known: Catalogue, past: Past, wish: ListWish) -> Lists:
    """What the lists hold, (users, n) in their order."""
    found = known.recommender.lists(past, max(wish.candidates, wish.n), known.allowed)
    taken = diversity.mmr(found.items, found.scores, known.likeness, wish.n, wish.rule, known.groups)
    items = np.where(taken == NONE, NONE, np.take_along_axis(found.items, taken, 1))
    scores = np.where(taken == NONE, -np.inf, np.take_along_axis(found.scores, taken, 1))
    return Lists(items, scores, found.known)


def lists(known: Catalogue, past: Past, wish: ListWish) -> list[bytes | None]:
    """The list of each user as JSON. None for a user of whom the model knows nothing, or without items left."""
    items, scores, _ = chosen(known, past, wish)
    rows = zip(items, scores, known.recommender.explain(past, items), strict=True)
    return [encoded(known, *row) for row in rows]


def similar(known: Catalogue, of: Int, n: int) -> list[bytes | None]:
    """The list of each item in `of`, which is the reason of all its entries. None where no item is like it."""
    top = known.recommender.similar(of, n, known.allowed)
    why = np.broadcast_to(of[:, None], top.items.shape)
    return [encoded(known, *row) for row in zip(top.items, top.scores, why, strict=True)]


def encoded(known: Catalogue, items: Int, scores: Float, reasons: Int) -> bytes | None:
    """One list as JSON, without the places that are NONE. None if it is empty."""
    names = known.recommender.items
    rows = zip(items.tolist(), (np.round(scores, DECIMALS) + 0.0).tolist(), reasons.tolist(), strict=True)
    entries = [
        Entry(names[item], score, None if why == NONE else names[why]) for item, score, why in rows if item != NONE
    ]
    return encode(Listed(known.version, known.as_of_ms, entries)) if entries else None
