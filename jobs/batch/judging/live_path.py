"""The lists that shoppers get while they act: the held-out events again, each asked for from what was known before it.

Prequential evaluation, Dawid 1984; for recommenders Vinagre, Jorge, Gama 2014, "Evaluation of recommender systems in
streaming environments". A question is a held-out event by which a user takes an item for the first time. The list is
the one of the stream just before it: from the user's last `history` events, the earlier held-out ones among them, by
the fold-in of the stream, and by score alone, without what the rules of items leave out (docs/night.md, "The live
path").
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from headrace.jobs.batch.judging import figures
from headrace.jobs.batch.judging.recommenders import Contestant
from headrace.udfs.evaluation import ranking
from headrace.udfs.factors.als import Float, Int, ranges
from headrace.udfs.factors.confidence import ACTIONS, UNKNOWN, UNSEEN, WEIGHTS, Events

QUESTIONS = 20  # of a user, the first ones
POPULARITY = "popularity"
METRICS = ("ndcg", "hit_rate")
_TAKES = [ACTIONS.index(action) for action in (*WEIGHTS, "rate")]
_UNSEEN = [ACTIONS.index(action) for action in UNSEEN]


class Questions(NamedTuple):
    events: Events  # what is known before each; `users` are the questions
    owners: Int  # (questions,): the user of each
    wanted: Int  # (questions,): the item that is taken next


def own(model: str) -> str:
    """Returns the name of a model's lists by its own scorer, where the stream has another."""
    return f"own_{model}"


def questions(events: Events, held: ranking.Bool, history: int) -> Questions:
    """Returns the first QUESTIONS of each user. events: sorted by user, each user's in order; held: a mask of them."""
    n = len(events.users)
    acts = np.flatnonzero(~np.isin(events.actions, _UNSEEN) & (events.items != UNKNOWN))
    cells = events.users[acts] * (int(events.items.max(initial=0)) + 1) + events.items[acts]
    first = np.zeros(n, bool)
    first[acts[np.unique(cells, return_index=True)[1]]] = True
    asked = np.flatnonzero(first & held & np.isin(events.actions, _TAKES))
    owners = events.users[asked]
    few = np.arange(len(asked)) - np.searchsorted(owners, owners) < QUESTIONS
    asked, owners = asked[few], owners[few]
    starts = np.maximum(np.searchsorted(events.users, owners), asked - history)
    sizes = asked - starts
    before = events.where(ranges(starts, asked))._replace(users=np.repeat(np.arange(len(asked)), sizes))
    return Questions(before, owners, events.items[asked])


def answered(asked: Questions, every: Mapping[str, Contestant], users: list[str], known: Int, k: int) -> pd.DataFrame:
    """Returns a row per user with a question: the means of each recommender.

    known (users,): events that are not held out.
    """
    size = len(asked.wanted)
    lists = {name: each.lists(asked.events, size, k) for name, each in every.items()}
    owners, at, counts = np.unique(asked.owners, return_inverse=True, return_counts=True)
    columns: dict[str, Any] = {"user_id": [users[owner] for owner in owners], "is_new": known[owners] == 0}
    columns["questions"] = counts
    for name, each in lists.items():
        gains = gained(each.filled(lists[POPULARITY]), asked.wanted)
        for metric, values in zip(METRICS, (gains, gains > 0), strict=True):
            columns[f"{metric}_{name}"] = np.bincount(at, values, len(owners)) / counts
    return pd.DataFrame(columns)


def gained(items: Int, wanted: Int) -> Float:
    """Returns the NDCG of lists in which one item counts: 1 / log2(place + 1) of its place, from 1 on; 0 without it."""
    discounts = 1 / np.log2(np.arange(items.shape[1]) + 2)
    return np.asarray(((items == wanted[:, None]) * discounts).sum(axis=1))


def schema(every: Mapping[str, Contestant]) -> str:
    measured = [f"`{metric}_{name}` double" for name in every for metric in METRICS]
    return ", ".join(["user_id string", "is_new boolean", "questions bigint", *measured])


def summary(
    rows: pd.DataFrame, models: list[str], others: list[str], choosing: Collection[str] = ()
) -> figures.Figures:
    """Returns the report of the live path. rows: of `answered`, of all users.

    choosing: the users who choose among the models. `choice` has what they choose by; the rest is of those who judge.
    """
    chooses = rows["user_id"].isin(choosing).to_numpy(bool)
    by = rows[chooses] if chooses.any() else rows
    choice = {name: {"ndcg": _mean(by, name), "loss": _loss(by, name)} for name in models}
    rows = rows[~chooses]
    new = rows["is_new"].to_numpy(bool)
    told = {name: _figures(rows, name, new) for name in [*models, *others]}
    for name in models:
        difference = rows[f"ndcg_{name}"] - rows[f"ndcg_{POPULARITY}"]
        told[name]["against"] = {POPULARITY: _interval(difference)} if len(rows) else {}
        told[name]["loss"] = _loss(rows, name)
    data = {"users": len(rows), "new_users": int(new.sum()), "questions": int(rows["questions"].sum())}
    parts = {"models": {name: told[name] for name in models}, "others": {name: told[name] for name in others}}
    return data | parts | {"choice": choice}


def _figures(rows: pd.DataFrame, name: str, new: ranking.Bool) -> figures.Figures:
    parts = {"": np.ones(len(rows), bool), "new_": new}
    return {
        f"{part}{metric}": _interval(rows[f"{metric}_{name}"][mask])
        for part, mask in parts.items() if mask.any()
        for metric in METRICS
    }  # fmt: skip


def _interval(values: pd.Series) -> dict[str, float]:
    return figures.resampled({"it": values.to_numpy(np.float64)})["it"]._asdict()


def _loss(rows: pd.DataFrame, name: str) -> float:
    """Returns the share of the model's own NDCG that the stream's scorer loses; 0 where it is the model's own."""
    if f"ndcg_{own(name)}" not in rows:
        return 0.0
    best = _mean(rows, own(name))
    return 1 - _mean(rows, name) / best if best > 0 else 0.0


def _mean(rows: pd.DataFrame, name: str) -> float:
    return float(rows[f"ndcg_{name}"].mean()) if len(rows) else 0.0
