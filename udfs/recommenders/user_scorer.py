"""User-user neighbours: what those take who took what the user took.

Herlocker, Konstan, Borchers, Riedl 1999; for implicit feedback score(u, i) = sum over the nearest users v who took i of
cos(u, v). The kept users' baskets lie beside each other twice, by user and by item.
"""

from collections.abc import Sequence

import numpy as np

from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int, Real, Rows
from headrace.udfs.factors.top_n import NONE, Top
from headrace.udfs.recommenders.contract import Lists, Past
from headrace.udfs.recommenders.neighbour_scorer import best, summed


class UserScorer:
    def __init__(self, items: Sequence[str], indptr: Int, columns: Int, neighbours: int) -> None:
        """indptr, columns: the items of each kept user; neighbours: users whose baskets count.

        Raises ValueError if there is no row for each user, or an item that is not there.
        """
        if len(indptr) < 2 or indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] != len(columns):
            raise ValueError(f"baskets must have a row for each user, got {len(columns)} items")
        if not len(columns) or not 0 <= columns.min() <= columns.max() < len(items):
            raise ValueError(f"baskets must be of the {len(items)} items, got others or none")
        self.items, self.neighbours = items, neighbours
        self.baskets = Rows(np.asarray(indptr), np.asarray(columns).astype(np.int64), np.ones(len(columns)))
        self.takers = als.transpose(self.baskets, len(items))
        self.roots = np.sqrt(np.maximum(np.diff(self.baskets.indptr), 1))

    def vectors(self) -> Real | None:
        return None

    def lists(self, past: Past, k: int, allowed: Int) -> Lists:
        users, items, values = self._votes(past)
        sums, m = summed(users, items, values, len(self.items)), len(self.items)
        may = np.zeros(m, bool)
        may[allowed] = True
        left = may[sums.items] & ~np.isin(sums.users * m + sums.items, past.seen.users * m + past.seen.items)
        top = best(sums._replace(**{name: getattr(sums, name)[left] for name in sums._fields}), past.users, k)
        return Lists(*top, np.bincount(sums.users, minlength=past.users) > 0)

    def score(self, past: Past, items: Int) -> Float:
        users, columns, values = self._votes(past)
        m, found = len(self.items), np.zeros(items.shape)
        sums = summed(users, columns, values, m)
        pairs, asked = sums.users * m + sums.items, np.arange(past.users)[:, None] * m + items
        if len(pairs):
            at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
            found = np.where(pairs[at] == asked, sums.scores[at], 0.0)
        return found

    def similar(self, items: Int, k: int, allowed: Int) -> Top:
        """Returns those that most of the item's takers took, by cosine."""
        single = Rows(np.arange(len(items) + 1), items, np.ones(len(items)))
        takers, lengths = _entries(self.takers, single.columns)
        owners = np.repeat(np.arange(len(items)), lengths)
        columns, each = _entries(self.baskets, takers)
        sums = summed(np.repeat(owners, each), columns, np.ones(len(columns)), len(self.items))
        counts = np.diff(self.takers.indptr)
        cosine = sums.scores / np.sqrt(np.maximum(counts[items[sums.users]] * counts[sums.items], 1))
        left = np.isin(sums.items, allowed) & (sums.items != items[sums.users])
        return best(sums._replace(users=sums.users[left], items=sums.items[left], scores=cosine[left]), len(items), k)

    def explain(self, past: Past, items: Int) -> Int:
        """Returns the item of the user's rows that most of the votes for each item go through."""
        why = np.full(items.shape, NONE, np.int64)
        users, nearest, cosines = self._nearest(past)
        for user in np.unique(users):
            own = past.rows.columns[past.rows.indptr[user] : past.rows.indptr[user + 1]]
            theirs, values = nearest[users == user], cosines[users == user]
            takes = np.stack([self._has(theirs, item) for item in own])  # (own, neighbours)
            for at, item in enumerate(items[user]):
                votes = takes @ (values * self._has(theirs, item)) if item != NONE else np.zeros(1)
                why[user, at] = own[votes.argmax()] if votes.max() > 0 else NONE
        return why

    def sound(self) -> list[str]:
        """Returns nothing: what is wrong does not open."""
        return []

    def _has(self, users: Int, item: int) -> Float:
        takers = self.takers.columns[self.takers.indptr[item] : self.takers.indptr[item + 1]]
        return np.isin(users, takers).astype(np.float64)

    def _nearest(self, past: Past) -> tuple[Int, Int, Float]:
        """Returns (user, kept user, cosine) of the nearest ones."""
        rows = past.rows
        takers, lengths = _entries(self.takers, rows.columns)
        owners = np.repeat(np.repeat(np.arange(past.users), np.diff(rows.indptr)), lengths)
        both = summed(owners, takers, np.ones(len(takers)), len(self.roots))
        own = np.sqrt(np.maximum(np.diff(rows.indptr), 1))
        top = best(both._replace(scores=both.scores / (own[both.users] * self.roots[both.items])), past.users,
                   self.neighbours)  # fmt: skip
        users, at = np.nonzero(top.items != NONE)
        return users, top.items[users, at], top.scores[users, at]

    def _votes(self, past: Past) -> tuple[Int, Int, Float]:
        """Returns (user, item, cosine) for each item of each of the nearest users."""
        users, nearest, cosines = self._nearest(past)
        columns, lengths = _entries(self.baskets, nearest)
        return np.repeat(users, lengths), columns, np.repeat(cosines, lengths)


def _entries(rows: Rows, wanted: Int) -> tuple[Int, Int]:
    """Returns the columns of the wanted rows, one after the other, and how many each has."""
    starts, lengths = rows.indptr[wanted], np.diff(rows.indptr)[wanted]
    entries = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows.columns[entries + np.repeat(starts, lengths)], lengths
