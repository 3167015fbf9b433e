"""The lists of each recommender -> the figures of a report: docs/night.md, "The numbers". It needs no Spark."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from headrace.udfs.evaluation import ranking
from headrace.udfs.evaluation.ranking import Float, Int, MeanInterval, Relevant, Similarity

SEED = 1
BY_SEGMENT = ("hit_rate", "precision", "recall", "ndcg", "map")
RAW = ("ndcg", "recall", "hit_rate", "coverage", "diversity")  # told of the lists by score alone, too
OTHERS = ("popularity", "champion")  # whom a model is held against, where they are there
Figures = dict[str, Any]


def raw(model: str) -> str:
    """Returns the name of a model's lists by score alone, without rules and diversity."""
    return f"raw_{model}"


class JudgedLists(NamedTuple):
    """A contestant's lists, with the popular list for whom it does not know."""

    items: Int  # (users, k), best first, NONE at the end
    known: ranking.Bool  # (users,)

    def of(self, users: ranking.Bool) -> "JudgedLists":
        """Returns those of some users. users: a mask."""
        return JudgedLists(self.items[users], self.known[users])


class About(NamedTuple):
    """What the lists are judged by."""

    relevant: Relevant  # of each user whose list was asked for
    history: Int  # (users,): items that each had seen before
    item_users: Int  # (items,): users of strength > 0 in the training events
    users: int  # of the training events
    choosing: ranking.Bool | None = None  # (users,): those who choose among the models; the others judge

    @property
    def catalogue(self) -> ranking.Bool:
        return self.item_users > 0

    def of(self, users: ranking.Bool) -> "About":
        """Returns the same of some users, a mask, all of whom judge."""
        return self._replace(relevant=self.relevant.where(users), history=self.history[users], choosing=None)


def summary(
    lists: Mapping[str, JudgedLists],
    about: About,
    similar: Mapping[str, Similarity | None],
    models: list[str],
    unfit: Collection[str] = (),
    live: Mapping[str, float] | None = None,
) -> Figures:
    """Returns all figures of the report. lists: of the models, raw ones too, and of OTHERS.

    unfit: models that are chosen only if all are; live: the NDCG of live lists, which decides between models of equal
    NDCG, as all are where all users are new. No user both chooses among the models and judges the one that is
    chosen: the best of several on the same users looks better than it is.
    """
    fit = [name for name in models if name not in unfit]
    chosen, exposed = (
        choice(lists, about, fit or models, live or {}),
        {name: exposure(each, about) for name, each in lists.items()},
    )
    choosing = 0 if about.choosing is None else int(about.choosing.sum())
    lists, about = judging(lists, about)
    kinds = {name: each for name, each in similar.items() if each}
    by_user = {name: values(each, lists["popularity"], about, kinds) for name, each in lists.items()}
    parts = ranking.segments(about.history)
    figures = {name: figures_of(by_user[name], each, about, parts) | exposed[name] for name, each in lists.items()}
    others = [name for name in OTHERS if name in lists]
    for name in models:
        if raw(name) in figures:
            figures[name]["raw"] = {metric: each for metric, each in figures[raw(name)].items() if metric in RAW}
        figures[name]["against"] = {other: against(by_user[name], by_user[other], parts) for other in others}
    n, k = about.relevant.counts, lists["popularity"].items.shape[1]
    return {
        "k": k,
        "models": {name: figures[name] for name in models},
        "baselines": {name: figures[name] for name in others},
        "chosen": chosen,
        "bounds": ranking.bounds(n, k)
        | {"coverage": min(1.0, (len(n) + choosing) * k / max(int(about.catalogue.sum()), 1))},
        "data": facts(about, parts) | {"users_choosing": choosing},
        "bootstrap": {"seed": SEED, "resamples": ranking.RESAMPLES, "confidence": ranking.CONFIDENCE},
    }


def judging(lists: Mapping[str, JudgedLists], about: About) -> tuple[Mapping[str, JudgedLists], About]:
    """Returns the same of those who judge: all users but those who choose."""
    if about.choosing is None:
        return lists, about
    return {name: each.of(~about.choosing) for name, each in lists.items()}, about.of(~about.choosing)


def choice(lists: Mapping[str, JudgedLists], about: About, models: list[str], live: Mapping[str, float]) -> str:
    """Returns the model with the highest NDCG of those who choose, then with the highest live one, then by name."""
    users = np.ones(len(about.history), bool) if about.choosing is None else about.choosing
    relevant = about.relevant.where(users)

    def quality(model: str) -> tuple[float, float]:
        h = ranking.hits(lists[model].items[users], relevant)
        return float(ranking.accuracy(h, relevant.counts)["ndcg"].mean()), live.get(model, 0.0)

    return max(sorted(models), key=quality)


def values(
    lists: JudgedLists, popular: JudgedLists, about: About, similar: Mapping[str, Similarity]
) -> dict[str, Float]:
    """Returns each metric by user."""
    h = ranking.hits(lists.items, about.relevant)
    overlap = ranking.overlap(lists.items, popular.items)
    return ranking.accuracy(h, about.relevant.counts) | {
        **{name: ranking.diversity(lists.items, similarity) for name, similarity in similar.items()},
        "novelty": ranking.novelty(lists.items, about.item_users, about.users),
        "serendipity": ranking.serendipity(lists.items, h, popular.items),
        "popularity_percentile": ranking.popularity_percentile(lists.items, about.item_users),
        "popularity_overlap": np.where(lists.known, overlap, np.nan),
    }


def figures_of(by_user: dict[str, Float], lists: JudgedLists, about: About, parts: dict[str, ranking.Bool]) -> Figures:
    figures: Figures = {name: interval._asdict() for name, interval in resampled(by_user).items()}
    by_segment = {name: within(by_user, part) for name, part in parts.items() if part.any()}
    h, n = ranking.hits(lists.items, about.relevant), about.relevant.counts
    told = {"segments": by_segment, "by_k": by_k(h, n), "hits": int(h.sum()), "known": float(lists.known.mean())}
    return figures | told


def exposure(lists: JudgedLists, about: About) -> Figures:
    """Returns the figures of how the lists of all users, whether they judge or not, fill the catalogue."""
    exposed = ranking.exposure(lists.items, len(about.item_users))
    whole = {"coverage": ranking.coverage(exposed, about.catalogue), "gini": ranking.gini(exposed, about.catalogue)}
    figures: Figures = {name: {"value": value, "low": None, "high": None} for name, value in whole.items()}
    return figures | {"exposure": lorenz(exposed[about.catalogue])}


def within(by_user: dict[str, Float], part: ranking.Bool) -> Figures:
    intervals = resampled({name: by_user[name][part] for name in BY_SEGMENT})
    return {"users": int(part.sum())} | {name: interval._asdict() for name, interval in intervals.items()}


def against(ours: dict[str, Float], other: dict[str, Float], parts: dict[str, ranking.Bool]) -> Figures:
    """Returns the intervals of the users' differences between two recommenders."""
    differences = {name: ours[name] - other[name] for name in BY_SEGMENT}
    intervals: Figures = {name: interval._asdict() for name, interval in resampled(differences).items()}
    ndcg = differences["ndcg"]
    segments = {name: resampled({"ndcg": ndcg[part]})["ndcg"]._asdict() for name, part in parts.items() if part.any()}
    return intervals | {"segments": segments}


def resampled(by_user: Mapping[str, Float]) -> dict[str, MeanInterval]:
    """Returns the bootstrap interval of each metric. Every recommender gets the same resamples."""
    return ranking.intervals(by_user, np.random.default_rng(SEED))


def by_k(h: ranking.Bool, n: Int) -> dict[str, list[float]]:
    """Returns NDCG and recall of the first 1, 2, ... K places."""
    by_place = [ranking.accuracy(h[:, : place + 1], n) for place in range(h.shape[1])]
    return {name: [round(float(each[name].mean()), 5) for each in by_place] for name in ("ndcg", "recall")}


def lorenz(exposed: Int, points: int = 101) -> list[float]:
    """Returns the share of all places that the least listed 0, 1, ... 100 % of the catalogue fill."""
    filled = np.concatenate([[0], np.cumsum(np.sort(exposed))]) / max(exposed.sum(), 1)
    along = np.linspace(0, 1, points)
    return [round(float(each), 5) for each in np.interp(along, np.linspace(0, 1, len(filled)), filled)]


def facts(about: About, parts: dict[str, ranking.Bool]) -> Figures:
    new = about.item_users[about.relevant.items] == 0
    return {
        "users": len(about.history),
        "users_trained": about.users,
        "segments": {name: int(part.sum()) for name, part in parts.items()},
        "relevant": len(about.relevant.items),
        "relevant_median": float(np.median(about.relevant.counts)),
        "relevant_new_items": float(new.mean()),
        "catalogue": int(about.catalogue.sum()),
    }
