"""How a night makes a user's list from a model, by infra/config/rules.toml.

`precompute` writes such lists, and `evaluate` judges them: what is judged is what readers get.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame

from headrace.infra.settings import NightSettings
from headrace.infra.versions import rules
from headrace.infra.versions.rules import ItemRules, Rules
from headrace.jobs.batch.publishing import popular
from headrace.udfs.factors import diversity
from headrace.udfs.factors.diversity import UNGROUPED, Cosine, DiversityRule, Groups, Likeness, SameCategory
from headrace.udfs.recommenders.contract import Recommender
from headrace.udfs.recommenders.nightly_lists import Catalogue, ListWish

BY_SCORE = DiversityRule(1.0, 1.0)


class Listing(NamedTuple):
    """It travels with a task, since an executor has no settings."""

    wish: ListWish
    item_rules: ItemRules
    categories: dict[str, str]  # of items; empty where the rules ask for none
    caps: dict[str, int]  # by category

    def catalogue(
        self, recommender: Recommender, left_out: Iterable[str], version: str = "", as_of_ms: int = 0
    ) -> Catalogue:
        """Prepares a model for its lists. left_out: items that no list may hold."""
        absent = set(left_out)
        allowed = np.array([at for at, item in enumerate(recommender.items) if item not in absent], np.int64)
        alike, groups = self._likeness(recommender), self._groups(recommender.items)
        return Catalogue(version, as_of_ms, recommender, allowed, alike, groups)

    def _likeness(self, recommender: Recommender) -> Likeness | None:
        """Returns how alike items are: by category where they have one, else by the model's vectors, if it has any."""
        if self.wish.rule == BY_SCORE:
            return None
        code = {name: n for n, name in enumerate(sorted(set(self.categories.values())))}
        own = [code.get(self.categories.get(item, ""), -1) for item in recommender.items]
        if any(each >= 0 for each in own):
            return SameCategory(np.array(own, np.int64))
        vectors = recommender.vectors()
        return None if vectors is None else Cosine(diversity.unit(vectors))

    def _groups(self, items: Sequence[str]) -> Groups | None:
        """Returns the items' groups; None if no item is of a category with a cap."""
        code = {name: n for n, name in enumerate(self.caps)}
        groups = np.array([code.get(self.categories.get(item, ""), UNGROUPED) for item in items], np.int64)
        found = bool((groups != UNGROUPED).any())
        return Groups(groups, np.array(list(self.caps.values()), np.int64)) if found else None


def by_score(n: int) -> Listing:
    """Returns the listing of the n best by score, without any rule."""
    return Listing(ListWish(n, n, BY_SCORE), ItemRules(), {}, {})


def of(settings: NightSettings, clicks: DataFrame, n: int) -> Listing:
    """Returns how lists of n items are made. clicks: all of the night, with their categories."""
    path = Path(settings.rules)
    business = rules.load(path)
    wished = wish(business, n)
    asks = business.caps_categories or wished.rule != BY_SCORE
    categories = popular.categories(clicks) if asks else {}
    return Listing(wished, rules.read(path), categories, _caps(business, categories))


def wish(business: Rules, n: int) -> ListWish:
    mix = business.diversity
    return ListWish(n, mix.candidates, DiversityRule(mix.trade_off, mix.max_similarity))


def _caps(business: Rules, categories: dict[str, str]) -> dict[str, int]:
    most = business.category.at_most
    return (dict.fromkeys(categories.values(), most) if most else {}) | business.category.limits
