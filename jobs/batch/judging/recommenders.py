"""Those whom `evaluate` compares: the popular list, the night's models and the champion, each from histories alone.

Items are places in the evaluation's own item map, which names every item of the night and of the models.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from headrace.infra.versions.rules import ItemRules
from headrace.jobs.batch.publishing.listing import Listing
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float, Int
from headrace.udfs.factors.confidence import UNKNOWN, Events, Histories, histories
from headrace.udfs.factors.top_n import NONE, listed_top_n
from headrace.udfs.recommenders import contract, nightly_lists
from headrace.udfs.recommenders.contract import Lists, LiveScorer, Past, Recommender

AT_A_TIME = 256  # users, as in `precompute`
_DENSE = 1 << 24  # numbers of a dense block


class Contestant(Protocol):
    def lists(self, events: Events, users: int, k: int) -> Lists: ...


class PopularList:
    """What most users had, without what the rules leave out. It knows nobody, for whoever is unknown gets this list."""

    def __init__(self, item_users: Int, listed: Int) -> None:
        self.scores, self.listed = item_users.astype(np.float32)[:, None], listed

    def lists(self, events: Events, users: int, k: int) -> Lists:
        seen = plain(events, users, len(self.scores)).seen
        top = listed_top_n(np.ones((users, 1)), self.scores[self.listed], self.listed, k, seen)
        return Lists(*top, np.zeros(users, bool))


class PlacedModel:
    """A model's lists, in the evaluation's own item map. strength: half_life_ms, rating_max."""

    def __init__(self, items: Sequence[str], strength: tuple[float, float], places: Mapping[str, int]) -> None:
        self.strength = strength
        self.here = np.array([places[item] for item in items], np.int64)
        self.there = np.full(len(places) + 1, UNKNOWN)
        self.there[self.here] = np.arange(len(self.here))

    def answer(self, past: Past, k: int) -> Lists:
        raise NotImplementedError

    def lists(self, events: Events, users: int, k: int) -> Lists:
        parts = [self._some(events, first, min(first + AT_A_TIME, users), k) for first in range(0, users, AT_A_TIME)]
        return Lists(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _some(self, events: Events, first: int, end: int, k: int) -> Lists:
        users, rows = end - first, slice(*np.searchsorted(events.users, [first, end]))
        own = events.where(rows)  # type: ignore[arg-type]
        own = own._replace(users=own.users - first, items=self.there[own.items])
        items, scores, known = self.answer(contract.past(own, users, len(self.here), *self.strength), k)
        return Lists(np.where(items == NONE, NONE, self.here[items]), scores, known)


class NightModel(PlacedModel):
    """The lists are those of `precompute`: by the same code, from the same rules."""

    def __init__(
        self, recommender: Recommender, strength: tuple[float, float], places: Mapping[str, int], how: Listing
    ) -> None:
        super().__init__(recommender.items, strength, places)
        self.catalogue, self.wish = how.catalogue(recommender, how.item_rules.left_out(recommender.items)), how.wish

    def answer(self, past: Past, k: int) -> Lists:
        return nightly_lists.chosen(self.catalogue, past, self.wish._replace(n=k))


class LiveModel(PlacedModel):
    """The lists are those of the stream, whose history says nothing about who the user is."""

    def __init__(
        self, scorer: LiveScorer, strength: tuple[float, float], places: Mapping[str, int], item_rules: ItemRules
    ) -> None:
        super().__init__(scorer.items, strength, places)
        allowed = [place for place, item in enumerate(scorer.items) if not item_rules.forbids(item)]
        self.scorer, self.allowed = scorer, np.array(allowed, np.int64)

    def answer(self, past: Past, k: int) -> Lists:
        return self.scorer.lists(past._replace(events=past.events._replace(features=None)), k, self.allowed)


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

    def _blocks(self, wanted: Int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yields (first, the cosines of wanted[first:...] with every item)."""
        at_a_time = max(1, _DENSE // max(self._unit.shape[1], 1))
        for first in range(0, len(wanted), at_a_time):
            yield first, (self._unit[:, wanted[first : first + at_a_time]].T @ self._unit).toarray()
