"""How a night makes a user's list from a model, by infra/config/rules.toml.

`precompute` writes such lists, and `evaluate` judges them: what is judged is what readers get.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame

from headrace.infra.settings import NightSettings
from headrace.infra.versions import rules
from headrace.infra.versions.rules import ItemRules, Rules
from headrace.jobs.batch.publishing import popular
from headrace.jobs.batch.training.scorer import Scorer
from headrace.udfs.factors import nightly_lists
from headrace.udfs.factors.diversity import UNGROUPED, DiversityRule, Groups
from headrace.udfs.factors.nightly_lists import Catalogue, ListWish


class Listing(NamedTuple):
    """It travels with a task, since an executor has no settings."""

    wish: ListWish
    item_rules: ItemRules
    categories: dict[str, str]  # of items that a cap may concern
    caps: dict[str, int]  # by category

    def catalogue(self, scorer: Scorer, left_out: Iterable[str], version: str = "", as_of_ms: int = 0) -> Catalogue:
        """Prepares a model for its lists. left_out: items that no list may hold."""
        known = nightly_lists.catalogue(version, as_of_ms, scorer.items, scorer.item_factors, left_out)
        return known._replace(groups=self._groups(known))

    def _groups(self, known: Catalogue) -> Groups | None:
        """Returns the items' groups; None if no item is of a category with a cap."""
        code = {name: n for n, name in enumerate(self.caps)}
        groups = np.array([code.get(self.categories.get(item, ""), UNGROUPED) for item in known.items], np.int64)
        found = bool((groups != UNGROUPED).any())
        return Groups(groups, np.array(list(self.caps.values()), np.int64)) if found else None


def by_score(n: int) -> Listing:
    """Returns the listing of the n best by score, without any rule."""
    return Listing(ListWish(n, n, DiversityRule(1.0, 1.0)), ItemRules(), {}, {})


def of(settings: NightSettings, clicks: DataFrame, n: int) -> Listing:
    """Returns how lists of n items are made. clicks: all of the night, with their categories."""
    path = Path(settings.rules)
    business = rules.load(path)
    categories = popular.categories(clicks) if business.caps_categories else {}
    return Listing(wish(business, n), rules.read(path), categories, _caps(business, categories))


def wish(business: Rules, n: int) -> ListWish:
    mix = business.diversity
    return ListWish(n, mix.candidates, DiversityRule(mix.trade_off, mix.max_similarity))


def _caps(business: Rules, categories: dict[str, str]) -> dict[str, int]:
    most = business.category.at_most
    return (dict.fromkeys(categories.values(), most) if most else {}) | business.category.limits
