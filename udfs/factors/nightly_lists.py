"""The lists that a night makes: one per user, from all they did, and one per item, of the items most like it.

A user's list holds n of the best `candidates` by x_u'y_i, without items that were seen or are left out;
udfs/factors/diversity.py picks the n. The reason of an item is, among the items that the user wanted, the one most like
it; it has no reason if no cosine is above 0. An item's list holds the n others of highest cosine.
docs/night.md, "Precompute".
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.schemas.lists import DECIMALS, Entry, Listed, encode
from headrace.udfs.factors import diversity
from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.factors.diversity import DiversityRule, Groups
from headrace.udfs.factors.top_n import NONE, Excluded, Top, listed_top_n

WIDER = 2  # times the candidates are asked of an index: users who have seen more than the rest are scanned for

# (vectors (u, f), k) -> (scores, places in `listed`), both (u, k), NONE where it found fewer.
Search = Callable[[Real, int], tuple[NDArray[np.float32], Int]]


class Catalogue(NamedTuple):
    """One version of the model, with everything that is computed once for all lists."""

    version: str
    as_of_ms: int
    items: Sequence[str]
    Y: Real  # (m, f)
    units: NDArray[np.float32]  # (m, f), of length 1
    listed: Int  # (listed,), indices of the items that a list may hold, ascending
    shown: Real  # (listed, f), their rows of Y
    groups: Groups | None = None
    best: Search | None = None  # by Y, instead of the exact scan
    alike: Search | None = None  # by units


class ListWish(NamedTuple):
    n: int
    candidates: int
    rule: DiversityRule


def catalogue(version: str, as_of_ms: int, items: Sequence[str], Y: Real, left_out: Iterable[str]) -> Catalogue:
    """Prepares a version. Y (m, f): row i belongs to items[i]; left_out: items that no list may hold."""
    absent = set(left_out)
    listed = np.array([place for place, item in enumerate(items) if item not in absent], np.int64)
    return Catalogue(version, as_of_ms, items, Y, diversity.unit(Y), listed, Y[listed] if absent else Y)


def lists(known: Catalogue, X: Real, wanted: Rows, seen: Excluded, wish: ListWish) -> list[bytes | None]:
    """The list of each user as JSON. None for a user without known items, whose vector is zeros, or without items left.

    X (users, f); wanted: one row per user, the items that may be reasons; seen: items that no list of the user holds.
    """
    items, scores = chosen(known, X, seen, wish)
    return [
        encoded(known, items[user], scores[user], _reasons(known, items[user], _row(wanted, user)))
        for user in range(len(X))
    ]


def chosen(known: Catalogue, X: Real, seen: Excluded, wish: ListWish) -> Top:
    """What the lists hold, (users, n) in their order: indices of items and scores. NONE for a user of zeros."""
    top = _candidates(known, X, seen, wish.candidates)
    taken = diversity.mmr(top.items, top.scores, known.units, wish.n, wish.rule, known.groups)
    taken[~np.any(X != 0, axis=1)] = NONE
    items = np.where(taken == NONE, NONE, np.take_along_axis(top.items, taken, 1))
    return Top(items, np.take_along_axis(top.scores, taken, 1))


def similar(known: Catalogue, of: Int, n: int) -> list[bytes | None]:
    """The list of each item in `of`, which is the reason of all its entries. None where no item has a cosine > 0."""
    units, itself = known.units[of], Excluded(np.arange(len(of)), of)
    if known.alike is None:
        top = listed_top_n(units, known.units[known.listed], known.listed, n, itself)
    else:
        nearest = _found(known, known.alike, units, n + 1, itself)
        top = _best(nearest, np.einsum("uf,ukf->uk", units, known.units[nearest]), n)
    alike = np.where(top.scores > 0, top.items, NONE)
    why = np.broadcast_to(of[:, None], alike.shape)
    return [encoded(known, *row) for row in zip(alike, top.scores, why, strict=True)]


def encoded(known: Catalogue, items: Int, scores: Float, reasons: Int) -> bytes | None:
    """One list as JSON, without the places that are NONE. None if it is empty."""
    names = known.items
    rows = zip(items.tolist(), (np.round(scores, DECIMALS) + 0.0).tolist(), reasons.tolist(), strict=True)
    entries = [
        Entry(names[item], score, None if why == NONE else names[why]) for item, score, why in rows if item != NONE
    ]
    return encode(Listed(known.version, known.as_of_ms, entries)) if entries else None


def _candidates(known: Catalogue, X: Real, seen: Excluded, n: int) -> Top:
    if known.best is None:
        return listed_top_n(X, known.shown, known.listed, n, seen)
    many = np.bincount(seen.users, minlength=len(X)) > (WIDER - 1) * n
    items = _found(known, known.best, X, WIDER * n, seen)
    top = _best(items, np.einsum("uf,ukf->uk", X.astype(np.float64), known.Y[items].astype(np.float64)), n)
    if many.any():
        theirs = many[seen.users]
        own = Excluded(np.cumsum(many)[seen.users[theirs]] - 1, seen.items[theirs])
        top.items[many], top.scores[many] = listed_top_n(X[many], known.shown, known.listed, n, own)
    return top


def _found(known: Catalogue, search: Search, X: Real, k: int, excluded: Excluded) -> Int:
    """The items (users, k) that an index finds, with NONE in place of the excluded ones."""
    places = search(X, min(k, len(known.listed)))[1]
    items = np.where(places < 0, NONE, known.listed[places])
    m = len(known.items)
    pairs = np.arange(len(X))[:, None] * m + items
    return np.where(np.isin(pairs, excluded.users * m + excluded.items), NONE, items)


def _best(items: Int, scores: Float, n: int) -> Top:
    """The n best items of each user by (score descending, item ascending)."""
    scores = np.where(items == NONE, -np.inf, scores)
    order = np.lexsort((items, -scores))[:, :n]
    padding = ((0, 0), (0, max(n - order.shape[1], 0)))
    best, values = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    return Top(np.pad(best, padding, constant_values=NONE), np.pad(values, padding, constant_values=-np.inf))


def _row(rows: Rows, user: int) -> Int:
    return rows.columns[rows.indptr[user] : rows.indptr[user + 1]]


def _reasons(known: Catalogue, items: Int, wanted: Int) -> Int:
    """The wanted item most like each listed item, (n,). NONE where no wanted item has a cosine > 0."""
    if not len(wanted):
        return np.full(len(items), NONE, np.int64)
    alike = known.units[items] @ known.units[wanted].T  # (n, wanted)
    best = np.argmax(alike, axis=1)
    return np.where(alike[np.arange(len(items)), best] > 0, wanted[best], NONE)
