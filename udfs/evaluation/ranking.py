"""How good lists of items are: accuracy, and what accuracy does not see. docs/night.md, "The numbers", has the sources.

Lists are (users, K) indices of items, best first, with NONE at the end of a short one. Relevant items are sparse rows,
as CSR without values. A metric that is defined per user is returned per user, (users,); `intervals` takes the mean and
resamples users. NaN says that a user has no value, and such a user does not count.

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
Similarity = Callable[[Int, Int], Float]  # (n,), (n,) items -> (n,), such as a cosine; NaN: the pair does not count

LIGHT, HEAVY = 5, 20  # a user is light, or heavy, from so many items in the history on
SEGMENTS = ("new", "light", "heavy")
CONFIDENCE, RESAMPLES = 0.95, 1000


class Relevant(NamedTuple):
    """The relevant items of user u are items[indptr[u]:indptr[u + 1]], each once."""

    indptr: Int  # (users + 1,)
    items: Int

    @property
    def counts(self) -> Int:
        return np.diff(self.indptr)

    def where(self, users: Bool) -> "Relevant":
        """Returns those of some users. users: a mask."""
        ends = np.cumsum(self.counts[users])
        return Relevant(np.concatenate([[0], ends]), self.items[np.repeat(users, self.counts)])


class MeanInterval(NamedTuple):
    value: float
    low: float
    high: float


def hits(lists: Int, relevant: Relevant) -> Bool:
    """h of the module's table: (users, K), True where the item is relevant."""
    size = int(max(lists.max(initial=0), relevant.items.max(initial=0))) + 1
    owners = np.repeat(np.arange(len(lists)), relevant.counts)
    wanted = owners * size + relevant.items
    return np.asarray(np.isin(np.arange(len(lists))[:, None] * size + lists, wanted) & (lists != NONE))


def accuracy(h: Bool, n: Int) -> dict[str, Float]:
    """Each accuracy metric per user, (users,), from h (users, K) and n (users,).

    Raises ValueError if a user has no relevant item.
    """
    k = h.shape[1]
    if not (n > 0).all():
        raise ValueError(f"each user must have a relevant item, got {int(n.min())} of user {int(n.argmin())}")
    hit, possible = h.sum(axis=1), np.minimum(k, n)
    gains, places = 1 / np.log2(np.arange(2, k + 2)), np.arange(1, k + 1)
    first = np.where(h.any(axis=1), h.argmax(axis=1) + 1, np.inf)
    return {
        "hit_rate": (hit > 0).astype(np.float64),
        "precision": hit / k,
        "recall": hit / n,
        "capped_recall": hit / possible,
        "ndcg": h @ gains / np.cumsum(gains)[possible - 1],
        "map": (h * h.cumsum(axis=1) / places).sum(axis=1) / possible,
        "mrr": 1 / first,
    }


def bounds(n: Int, k: int) -> dict[str, float]:
    """The mean metrics of the best possible lists of k items, given n (users,). Those not named can reach 1."""
    possible = np.minimum(k, n)
    return {"precision": float(np.mean(possible / k)), "recall": float(np.mean(possible / n))}


def serendipity(lists: Int, h: Bool, primitive: Int) -> Float:
    """Per user, the share of a list that is relevant and not in the list of a primitive recommender (Ge et al. 2010).

    primitive: (users, any length).
    """
    return np.asarray((h & ~_contained(lists, primitive)).sum(axis=1) / lists.shape[1], np.float64)


def overlap(lists: Int, others: Int) -> Float:
    """The share of each list that the other list holds too, (users,)."""
    return _mean(_contained(lists, others).astype(np.float64), lists != NONE)


def _contained(lists: Int, others: Int) -> Bool:
    contained = np.zeros(lists.shape, bool)
    for column in others.T:
        contained |= lists == column[:, None]
    return np.asarray(contained & (lists != NONE))


def novelty(lists: Int, item_users: Int, users: int) -> Float:
    """The mean self-information of the listed items, in bits, (users,). An item without users counts as with one.

    item_users (items,): users per item; users: all of them.
    """
    bits = -np.log2(np.maximum(item_users, 1) / users)
    return _mean(bits[lists], lists != NONE)


def popularity_percentile(lists: Int, item_users: Int) -> Float:
    """The mean popularity percentile of the listed items, (users,).

    An item's percentile is its rank among the items with users. 1 is the most popular; equal items share the mean.
    """
    ranked = np.sort(item_users[item_users > 0])
    below, up_to = np.searchsorted(ranked, item_users, "left"), np.searchsorted(ranked, item_users, "right")
    return _mean(((below + up_to) / 2 / len(ranked))[lists], lists != NONE)


def diversity(lists: Int, similarity: Similarity) -> Float:
    """1 - the mean similarity of the pairs of a list, (users,). NaN if no pair counts."""
    first, second = np.triu_indices(lists.shape[1], 1)
    a, b = lists[:, first], lists[:, second]
    pairs = (a != NONE) & (b != NONE)
    alike = np.full(a.shape, np.nan)
    alike[pairs] = similarity(a[pairs], b[pairs])
    return 1 - _mean(alike, ~np.isnan(alike))


def cosine(vectors: NDArray[np.floating[Any]]) -> Similarity:
    """The cosine of dense item vectors (items, f). An item of zeros is like no other."""
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    return lambda a, b: np.einsum("pf,pf->p", unit[a], unit[b])


def same(category: Int) -> Similarity:
    """1 for two items of one category, 0 for others. category (items,): below 0 the item has none."""

    def similarity(a: Int, b: Int) -> Float:
        both = (category[a] >= 0) & (category[b] >= 0)
        return np.where(both, category[a] == category[b], np.nan)

    return similarity


def exposure(lists: Int, items: int) -> Int:
    """How often each item is listed, (items,)."""
    return np.bincount(lists[lists != NONE], minlength=items)


def coverage(exposed: Int, catalogue: Bool) -> float:
    """The share of the catalogue's items that are listed at all. exposed, catalogue (items,)."""
    return float(np.mean(exposed[catalogue] > 0))


def gini(exposed: Int, catalogue: Bool) -> float:
    """The Gini index of exposure: sum (2 j - m - 1) e_j / (m sum e) over e in rising order; 0 if nothing is listed."""
    e = np.sort(exposed[catalogue])
    m, total = len(e), e.sum()
    return float((2 * np.arange(1, m + 1) - m - 1) @ e / (m * total)) if total else 0.0


def segments(history: Int) -> dict[str, Bool]:
    """Splits users by the number of their items in the training data, history (users,)."""
    parts = history < LIGHT, (history >= LIGHT) & (history < HEAVY), history >= HEAVY
    return dict(zip(SEGMENTS, parts, strict=True))


def intervals(
    by_user: Mapping[str, Float], rng: np.random.Generator, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> dict[str, MeanInterval]:
    """Means with percentile intervals of a bootstrap over users (Efron 1979), all columns on the same resamples.

    So a difference of two models is a column like any other. A column without any value has no interval.
    by_user: columns (users,), NaN where a user has no value.
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
    rows = zip(columns, means[0].tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: MeanInterval(*interval) for name, *interval in rows}


def _weights(users: int, rng: np.random.Generator) -> Float:
    """How often each user is in one resample, (users,)."""
    return np.bincount(rng.integers(users, size=users), minlength=users).astype(np.float64)


def _mean(values: Float, counted: Bool) -> Float:
    """The mean of the counted values of each list, (users,). NaN where nothing counts."""
    total = np.where(counted, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / counted.sum(axis=1))
