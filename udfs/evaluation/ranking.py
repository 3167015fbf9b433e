"""How good lists of items are: accuracy, and what accuracy does not see. docs/night.md, "The numbers", has the sources.

Lists are (users, K) indices of items, best first, NONE at the end of a short one. Relevant items are sparse rows, as
CSR without values. What is defined by user comes by user, (users,), and a mean is left to `intervals`, which resamples
users; NaN says that a user has no value, and such a user does not count.

    h_j = 1 if the item in place j is relevant         hit_rate  any h_j            precision  sum h_j / K
    n   = relevant items of the user                   recall    sum h_j / n        ndcg       DCG / the best DCG
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.udfs.factors.top_n import NONE

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Similarity = Callable[[Int, Int], Float]  # of two items, such as a cosine; NaN: the pair does not count

LIGHT, HEAVY = 5, 20  # items of a history from which on a user is light, heavy
SEGMENTS = ("new", "light", "heavy")
CONFIDENCE, RESAMPLES = 0.95, 1000


class Relevant(NamedTuple):
    """User u wants items[indptr[u]:indptr[u + 1]], each once."""

    indptr: Int  # (users + 1,)
    items: Int

    @property
    def counts(self) -> Int:
        return np.diff(self.indptr)


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def hits(lists: Int, relevant: Relevant) -> Bool:
    """h, (users, K)."""
    size = int(max(lists.max(initial=0), relevant.items.max(initial=0))) + 1
    owners = np.repeat(np.arange(len(lists)), relevant.counts)
    wanted = owners * size + relevant.items
    return np.asarray(np.isin(np.arange(len(lists))[:, None] * size + lists, wanted) & (lists != NONE))


def accuracy(h: Bool, n: Int) -> dict[str, Float]:
    """h (users, K), n (users,) relevant items, each > 0 -> each metric by user."""
    k = h.shape[1]
    if not (n > 0).all():
        raise ValueError(f"each user must have a relevant item, got {int(n.min())} of user {int(n.argmin())}")
    found, possible = h.sum(axis=1), np.minimum(k, n)
    gains, places = 1 / np.log2(np.arange(2, k + 2)), np.arange(1, k + 1)
    first = np.where(h.any(axis=1), h.argmax(axis=1) + 1, np.inf)
    return {
        "hit_rate": (found > 0).astype(np.float64),
        "precision": found / k,
        "recall": found / n,
        "capped_recall": found / possible,
        "ndcg": h @ gains / np.cumsum(gains)[possible - 1],
        "map": (h * h.cumsum(axis=1) / places).sum(axis=1) / possible,
        "mrr": 1 / first,
    }


def bounds(n: Int, k: int) -> dict[str, float]:
    """What the best list reaches; 1 for the metrics that are not named."""
    possible = np.minimum(k, n)
    return {"precision": float(np.mean(possible / k)), "recall": float(np.mean(possible / n))}


def serendipity(lists: Int, h: Bool, primitive: Int) -> Float:
    """Ge et al. 2010: relevant, and not in the list of a primitive recommender, (users, any length)."""
    return np.asarray((h & ~_contained(lists, primitive)).sum(axis=1) / lists.shape[1], np.float64)


def overlap(lists: Int, others: Int) -> Float:
    """Share of each list that the other one holds too."""
    return _mean(_contained(lists, others).astype(np.float64), lists != NONE)


def _contained(lists: Int, others: Int) -> Bool:
    found = np.zeros(lists.shape, bool)
    for column in others.T:
        found |= lists == column[:, None]
    return np.asarray(found & (lists != NONE))


def novelty(lists: Int, item_users: Int, users: int) -> Float:
    """Mean self-information of the listed items, in bits; an item without users counts as with one."""
    bits = -np.log2(np.maximum(item_users, 1) / users)
    return _mean(bits[lists], lists != NONE)


def popularity_percentile(lists: Int, item_users: Int) -> Float:
    """An item's percentile is its place among those with users; 1 is the most popular, equal ones share the mean."""
    known = np.sort(item_users[item_users > 0])
    below, up_to = np.searchsorted(known, item_users, "left"), np.searchsorted(known, item_users, "right")
    return _mean(((below + up_to) / 2 / len(known))[lists], lists != NONE)


def diversity(lists: Int, similarity: Similarity) -> Float:
    """1 - the mean similarity of the pairs of a list; NaN without a pair that counts."""
    first, second = np.triu_indices(lists.shape[1], 1)
    a, b = lists[:, first], lists[:, second]
    pairs = (a != NONE) & (b != NONE)
    alike = np.full(a.shape, np.nan)
    alike[pairs] = similarity(a[pairs], b[pairs])
    return 1 - _mean(alike, ~np.isnan(alike))


def cosine(vectors: NDArray[np.floating[Any]]) -> Similarity:
    """Of dense item vectors (items, f); an item of zeros is like no other."""
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    return lambda a, b: np.einsum("pf,pf->p", unit[a], unit[b])


def same(category: Int) -> Similarity:
    """1 for two items of one category, 0 for others; a category below 0 is none."""

    def similarity(a: Int, b: Int) -> Float:
        known = (category[a] >= 0) & (category[b] >= 0)
        return np.where(known, category[a] == category[b], np.nan)

    return similarity


def exposure(lists: Int, items: int) -> Int:
    """How often each item is listed."""
    return np.bincount(lists[lists != NONE], minlength=items)


def coverage(exposed: Int, catalogue: Bool) -> float:
    return float(np.mean(exposed[catalogue] > 0))


def gini(exposed: Int, catalogue: Bool) -> float:
    """sum (2 j - m - 1) e_j / (m sum e) over e in rising order; 0 where nothing is listed."""
    e = np.sort(exposed[catalogue])
    m, total = len(e), e.sum()
    return float((2 * np.arange(1, m + 1) - m - 1) @ e / (m * total)) if total else 0.0


def segments(history: Int) -> dict[str, Bool]:
    """history (users,): how many items each user was seen with in what was trained on."""
    parts = history < LIGHT, (history >= LIGHT) & (history < HEAVY), history >= HEAVY
    return dict(zip(SEGMENTS, parts, strict=True))


def intervals(
    by_user: Mapping[str, Float], rng: np.random.Generator, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Means with percentile intervals of a bootstrap over users (Efron 1979); all columns on the same resamples.

    So a difference of two models is a column like any other. A column without any value has no interval.
    """
    columns = {name: each for name, each in by_user.items() if not np.isnan(each).all()}
    if not columns:
        return {}
    values = np.stack(list(columns.values()), axis=1)
    defined = ~np.isnan(values)
    both = np.hstack([np.where(defined, values, 0.0), defined])
    sums = np.stack([both.sum(axis=0), *(_weights(len(values), rng) @ both for _ in range(resamples))])
    with np.errstate(invalid="ignore"):
        means = sums[:, : len(columns)] / sums[:, len(columns) :]
    low, high = np.nanquantile(means[1:], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    found = zip(columns, means[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Interval(*interval) for name, *interval in found}


def _weights(users: int, rng: np.random.Generator) -> Float:
    """How often each user is in a resample."""
    return np.bincount(rng.integers(users, size=users), minlength=users).astype(np.float64)


def _mean(values: Float, counted: Bool) -> Float:
    """Along the list; NaN where nothing counts."""
    total = np.where(counted, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / counted.sum(axis=1))
