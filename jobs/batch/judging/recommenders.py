"""The recommenders that `evaluate` compares: popularity, item-item, and item factors, each from histories alone.

Items are places in the evaluation's own item map, which names every item of the night and of the models. item_item is
Sarwar, Karypis, Konstan, Riedl 2001, "Item-based collaborative filtering recommendation algorithms": cosine over
co-occurrence, the nearest neighbours of each item, and a score that sums them over the user's items.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from headrace.infra.versions import store
from headrace.jobs.batch.publishing.listing import Listing
from headrace.jobs.batch.training.scorer import Scorer
from headrace.udfs.factors import als, nightly_lists
from headrace.udfs.factors.als import Float, Int, Objective
from headrace.udfs.factors.confidence import UNKNOWN, Events, Histories, histories
from headrace.udfs.factors.top_n import NONE, listed_top_n

Bool = NDArray[np.bool_]

NEIGHBOURS = 200
AT_A_TIME = 256  # users, as in `precompute`
BASKET = 500  # items of a user that count in a co-occurrence, taken evenly: a bot's millions of pairs say little
_DENSE = 1 << 24  # numbers of a dense block
_BREAKS_TIES = 1e-9


class Lists(NamedTuple):
    items: Int  # (users, k), best first, NONE at the end
    known: Bool  # (users,): whether the recommender knows anything about the user; others get the popular list

    def of(self, users: Bool) -> "Lists":
        """Returns those of some users. users: a mask."""
        return Lists(self.items[users], self.known[users])


class Recommender(Protocol):
    def lists(self, events: Events, users: int, k: int) -> Lists: ...


class Popularity:
    """What most users had, without what the rules leave out."""

    def __init__(self, item_users: Int, listed: Int) -> None:
        self.scores, self.listed = item_users.astype(np.float32)[:, None], listed

    def lists(self, events: Events, users: int, k: int) -> Lists:
        seen = plain(events, users, len(self.scores)).seen
        items = listed_top_n(np.ones((users, 1)), self.scores[self.listed], self.listed, k, seen).items
        return Lists(items, np.zeros(users, bool))


class ItemItem:
    def __init__(self, neighbours: sparse.csr_matrix, item_users: Int, listed: Int) -> None:
        self.neighbours = neighbours  # (items, items), row j holds the cosines of j's neighbours
        self.popular = _BREAKS_TIES * item_users / max(item_users.max(initial=0), 1)
        self.absent = np.setdiff1d(np.arange(len(item_users)), listed)

    def lists(self, events: Events, users: int, k: int) -> Lists:
        rows, seen = plain(events, users, len(self.popular))
        scores = (matrix(rows, len(self.popular)) @ self.neighbours).toarray() + self.popular
        known = (scores >= 2 * _BREAKS_TIES).any(axis=1)
        scores[:, self.absent] = scores[seen.users, seen.items] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        items = np.full((users, k), NONE)
        items[:, : best.shape[1]] = np.where(np.take_along_axis(scores, best, axis=1) > -np.inf, best, NONE)
        return Lists(items, known)


class FactorModel:
    """A model's lists, as `precompute` makes them: by the same code, from the same rules.

    It translates between the model's own item map and the evaluation's.
    """

    def __init__(self, scorer: Scorer, places: Mapping[str, int], how: Listing) -> None:
        self.scorer, self.wish = scorer, how.wish
        self.catalogue = how.catalogue(scorer, how.item_rules.left_out(scorer.items))
        self.here = np.array([places[item] for item in scorer.items], np.int64)
        self.there = np.full(len(places) + 1, UNKNOWN)
        self.there[self.here] = np.arange(len(self.here))

    def lists(self, events: Events, users: int, k: int) -> Lists:
        parts = [self._some(events, first, min(first + AT_A_TIME, users), k) for first in range(0, users, AT_A_TIME)]
        return Lists(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _some(self, events: Events, first: int, end: int, k: int) -> Lists:
        users, rows = end - first, slice(*np.searchsorted(events.users, [first, end]))
        own = events.where(rows)  # type: ignore[arg-type]
        own = own._replace(users=own.users - first, items=self.there[own.items])
        vectors, seen = self.scorer.user_vectors(own, users), plain(own, users, len(self.here)).seen
        items = nightly_lists.chosen(self.catalogue, vectors, seen, self.wish._replace(n=k)).items
        return Lists(np.where(items == NONE, NONE, self.here[items]), np.any(vectors != 0, axis=1))


class Published:
    """A version as the stream serves it: it folds users in by the version's own parameters."""

    def __init__(self, version: str) -> None:
        manifest, contents = store.load(version)
        self.items, self.item_factors = contents.items, np.asarray(contents.item_factors)
        self._basis, self._objective = als.basis(self.item_factors), Objective(**manifest.parameters["objective"])
        self._half_life_ms, self._rating_max = (manifest.parameters[name] for name in ("half_life_ms", "rating_max"))

    def user_vectors(self, events: Events, users: int) -> Float:
        rows = histories(events, users, len(self.items), self._half_life_ms, self._rating_max).rows
        return als.solve(self._basis, rows, self._objective)


def plain(events: Events, users: int, items: int) -> Histories:
    """Returns which items each user has strength for, and which they have seen, without decay."""
    return histories(events, users, items, np.inf)


def matrix(rows: als.Rows, items: int) -> sparse.csr_matrix:
    """Returns a (users, items) matrix with 1 for each entry."""
    ones = np.ones(len(rows.columns), np.float32)
    return sparse.csr_matrix((ones, rows.columns, rows.indptr), (len(rows.indptr) - 1, items))


class Cosines:
    """The cosines between the columns of R, (users, items)."""

    def __init__(self, R: sparse.csr_matrix) -> None:
        counts = np.asarray(R.sum(axis=0)).ravel()
        self._unit = (R @ sparse.diags(1 / np.sqrt(np.maximum(counts, 1)))).tocsc()

    def __call__(self, a: Int, b: Int) -> Float:
        cosines = np.empty(len(a))
        wanted, row = np.unique(a, return_inverse=True)
        for first, block in self._blocks(wanted):
            here = (row >= first) & (row < first + len(block))
            cosines[here] = block[row[here] - first, b[here]]
        return cosines

    def neighbours(self, n: int = NEIGHBOURS) -> sparse.csr_matrix:
        """Returns the n highest cosines of each item, without the item itself."""
        items = self._unit.shape[1]
        kept = [sparse.csr_matrix((0, items), dtype=np.float32)]
        for first, block in self._blocks(np.arange(items)):
            rows = np.arange(len(block))
            block[rows, first + rows] = 0.0
            if n < items:
                block[block < np.partition(block, -n, axis=1)[:, [-n]]] = 0.0
            kept.append(sparse.csr_matrix(block))
        return sparse.vstack(kept, "csr")

    def _blocks(self, wanted: Int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yields (first, the cosines of wanted[first:...] with every item)."""
        at_a_time = max(1, _DENSE // max(self._unit.shape[1], 1))
        for first in range(0, len(wanted), at_a_time):
            yield first, (self._unit[:, wanted[first : first + at_a_time]].T @ self._unit).toarray()


def baskets(items: Sequence[Int], catalogue: int) -> sparse.csr_matrix:
    """Returns a (users, items) matrix of each user's items, with at most BASKET a user."""
    few = [each if len(each) <= BASKET else each[np.linspace(0, len(each) - 1, BASKET).astype(int)] for each in items]
    indptr = np.concatenate([[0], np.cumsum([len(each) for each in few])]).astype(np.int64)
    return matrix(als.Rows(indptr, np.concatenate(few).astype(np.int64), np.empty(0)), catalogue)
