"""What a training step of two towers asks for, and the items that it offers for that.

A step takes some users, hides a random part of what each took, and asks for it by a softmax over three kinds of items:
- all items that the step's users took (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
  recommendations");
- items drawn evenly from the catalogue (Yang et al. 2020, "Mixed negative sampling");
- hard items, drawn as often as the towers before the epoch list them for users who did not take them (Huang et al.
  2020, "Embedding-based retrieval in Facebook search"): not from the top of a list, which has what a user wants and has
  not seen.

A score is corrected by the log of its item's chance to be offered, 1 - (1 - n_i / n)^users (1 - 1/m)^drawn
(1 - h_i)^hard. This is in closed form, where Yi et al. estimate it from a stream. The n users are those that a step may
take, and n_i those of them who took i: a user of one item is in no step, since hiding the item would leave nothing. An
item that a user is shown as having taken is no negative for them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from headrace.jobs.batch.training import towers
from headrace.jobs.batch.training.towers import Bags, Shape, Towers, Users
from headrace.udfs.factors.als import Float, Int, Rows

ASKED, HARD = 1000, (100, 500)  # users whose lists give the hard items; the places of these items


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    shape: dict[str, float]
    epochs: int
    patience: int  # epochs without a better one
    users: int  # of a step, all processes together
    drawn: int  # items that a process's step draws from the catalogue
    hard: int  # items that a process's step draws from what the towers list wrongly
    hide: float  # share of a user's items that a step hides and asks for
    rate: float  # learning rate
    decay: float  # weight decay
    seed: int


class TrainingStep(NamedTuple):
    bags: Bags  # the shown items of each user; columns are places in `items`
    features: Bags
    items: Tensor  # all that are offered
    owners: Tensor  # of each hidden cell: the row of its user
    wanted: Tensor  # of each hidden cell: its place in `items`
    shown: Tensor  # of each column of `bags`: the row of its user
    pairs: int


def shape(plan: TrainingPlan) -> Shape:
    whole = {name: int(value) for name, value in plan.shape.items() if not name.endswith("dropout")}
    return Shape(**plan.shape | whole)  # type: ignore[arg-type]


def able(rows: Rows) -> Int:
    """Returns the users whom a step may take: those of two items and more."""
    return np.flatnonzero(np.diff(rows.indptr) >= 2)


def to_hide(drawn: Float, indptr: Int, share: float) -> Any:
    """Returns which entries are hidden: those whose number is below the share; of each row at least one, never all.

    The entry of a row with one entry is shown.
    """
    starts = indptr[:-1][np.diff(indptr) > 0]
    lengths = np.diff(indptr)[np.diff(indptr) > 0]
    lowest, highest = (np.repeat(each.reduceat(drawn, starts), lengths) for each in (np.minimum, np.maximum))
    return ((drawn < share) | (drawn == lowest)) & (drawn != highest)


def without(rows: Rows, hidden: Any) -> Rows:
    gone = np.concatenate([[0], np.cumsum(hidden)])
    return Rows(rows.indptr - gone[rows.indptr], rows.columns[~hidden], rows.strengths[~hidden])


def hard_negatives(model: Towers, users: Users, content: Rows, plan: TrainingPlan, epoch: int) -> Float:
    """Returns (m,): each item's share of the places HARD in the lists of ASKED users, without what they took."""
    items = int(plan.shape["items"])
    first, last = (min(place, items // part) for place, part in zip(HARD, (10, 2), strict=True))
    if not plan.hard or last <= first:
        return np.zeros(items)
    rng, may = np.random.default_rng([plan.seed, epoch, HARD[0]]), able(users.taken)
    asked = users.chosen(rng.choice(may, min(ASKED, len(may)), False))
    offered, taken = towers.tables(model, content)
    X = towers.vectors(model, taken, asked).astype(np.float32)
    listed_times = np.zeros(items, np.int64)
    for user, x in enumerate(X):
        scores = offered @ x
        scores[asked.taken.columns[slice(*asked.taken.indptr[user : user + 2])]] = -np.inf
        best = np.argpartition(-scores, last)[:last]
        best = best[np.argpartition(-scores[best], first)[first:]]
        listed_times[best[scores[best] > -np.inf]] += 1
    return np.asarray(listed_times / max(1, listed_times.sum()))


def chances(rows: Rows, plan: TrainingPlan, hard: Float, ranks: int = 1) -> Tensor:
    """Returns the log of each item's chance to be offered in a process's step, (m,)."""
    items = int(plan.shape["items"])
    offering = towers.chosen(rows, able(rows))
    taken = np.bincount(offering.columns, minlength=items) / max(1, len(offering.indptr) - 1)
    absent = plan.users / ranks * np.log1p(-np.minimum(taken, 1 - 1e-9)) + plan.drawn * np.log1p(-1 / max(items, 2))
    absent += plan.hard * np.log1p(-np.minimum(hard, 1 - 1e-9))
    return torch.from_numpy(np.log(-np.expm1(absent)).astype(np.float32))


def steps(users: Users, plan: TrainingPlan, epoch: int, rank: int, ranks: int, hard: Float) -> Iterator[TrainingStep]:
    """Yields this process's part of each step; all processes have equally many."""
    order = np.random.default_rng([plan.seed, epoch]).permutation(able(users.taken))
    rng = np.random.default_rng([plan.seed, epoch, rank])
    below = np.cumsum(hard)
    for at in range(0, len(order), plan.users):
        own = order[at : at + plan.users][rank::ranks]
        if len(order[at : at + plan.users]) >= ranks:
            yield step(users.chosen(own), plan, rng, below)


def step(users: Users, plan: TrainingPlan, rng: np.random.Generator, below: Float) -> TrainingStep:
    """Returns one process's step. below: the cumulative chances of the hard items."""
    rows = users.taken
    hidden = to_hide(rng.random(len(rows.columns)), rows.indptr, plan.hide)
    drawn = rng.integers(0, int(plan.shape["items"]), plan.drawn)
    hard = np.searchsorted(below, below[-1] * rng.random(plan.hard if below[-1] else 0), "right")
    items, place = np.unique(np.concatenate([rows.columns, drawn, hard]), return_inverse=True)
    place = place[: len(rows.columns)]
    owners = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    shown = without(Rows(rows.indptr, place, rows.strengths), hidden)
    offered, asked, wanted, of = map(torch.from_numpy, (items, owners[hidden], place[hidden], owners[~hidden]))
    return TrainingStep(towers.bags(shown), towers.bags(users.features), offered, asked, wanted, of, int(hidden.sum()))
