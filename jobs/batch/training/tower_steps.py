"""What a training step of two towers asks for, and the items that it offers for that.

A step takes some examples (tower_sequences.py): users as they were known before a take, and the items that they took
from there on. It asks for these by a softmax over three kinds of items:
- all items of the step's histories and targets (Yi et al. 2019, "Sampling-bias-corrected neural modeling for large
  corpus item recommendations");
- items drawn evenly from the catalogue (Yang et al. 2020, "Mixed negative sampling");
- hard items, drawn as often as the towers before the epoch list them for users who did not take them (Huang et al.
  2020, "Embedding-based retrieval in Facebook search"): not from the top of a list, which has what a user wants and has
  not seen.

A score is corrected by the log of its item's chance to be offered, 1 - (1 - p_i)^users (1 - 1/m)^drawn (1 - h_i)^hard.
This is in closed form, where Yi et al. estimate it from a stream. p_i is the chance that an example has the item: of a
user the share of their takes whose history or targets have it, over users in proportion to their examples. A user of
one take has no example. An item in a history is no negative for that user; the other targets of an example are.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from headrace.infra.settings import TwoTower
from headrace.jobs.batch.training import tower_sequences, towers
from headrace.jobs.batch.training.tower_sequences import Sequences, Window
from headrace.jobs.batch.training.towers import Bags, Shape, Towers
from headrace.udfs.factors.als import Float, Int, Rows

ASKED, HARD = 1000, (100, 500)  # users whose lists give the hard items; the places of these items


class TrainingPlan(msgspec.Struct, frozen=True, kw_only=True):
    shape: dict[str, float]
    history: int  # events that a user is known by
    ahead: int  # takes that an example asks for
    half_life_ms: float
    rating_max: float
    epochs: int
    patience: int  # epochs without a better one
    users: int  # examples of a step, all processes together
    drawn: int  # items that a process's step draws from the catalogue
    hard: int  # items that a process's step draws from what the towers list wrongly
    rate: float  # learning rate
    decay: float  # weight decay
    seed: int
    device: str = "auto"  # of torch; auto: a GPU where there is one

    @property
    def window(self) -> Window:
        items, buckets = (int(self.shape[name]) for name in ("items", "features"))
        return Window(items, buckets, self.history, self.ahead, self.half_life_ms, self.rating_max)


class TrainingStep(NamedTuple):
    bags: Bags  # the history of each user; columns are places in `items`
    features: Bags
    items: Tensor  # all that are offered
    owners: Tensor  # of each wanted item: the row of its user
    wanted: Tensor  # of each wanted item: its place in `items`
    shown: Tensor  # of each column of `bags`: the row of its user
    content: Bags  # of `items`
    pairs: int

    def to(self, device: torch.device) -> "TrainingStep":
        return self._replace(**{name: part.to(device) for name, part in self._asdict().items() if name != "pairs"})


def planned(items: int, content: Rows, s: TwoTower, how: Mapping[str, Any], has_features: bool = False) -> TrainingPlan:
    """Returns the plan of a training. how: history, half_life_ms and rating_max."""
    buckets = s.buckets if len(content.columns) else 0
    features = towers.FEATURE_BUCKETS if has_features else 0
    shape = Shape(items, buckets, s.factors, s.hidden, s.dropout, s.id_dropout, features)
    names = ("ahead", "epochs", "patience", "users", "drawn", "hard", "rate", "decay", "seed")
    own = {name: getattr(s, name) for name in names}
    return TrainingPlan(shape=shape._asdict(), **how, **own)


def shape(plan: TrainingPlan) -> Shape:
    whole = {name: int(value) for name, value in plan.shape.items() if not name.endswith("dropout")}
    return Shape(**plan.shape | whole)  # type: ignore[arg-type]


def able(sequences: Sequences) -> Int:
    """Returns the users whom a step may take: those of two takes and more."""
    return np.flatnonzero(sequences.take_ends - sequences.take_starts >= 2)


def hard_negatives(model: Towers, sequences: Sequences, content: Rows, plan: TrainingPlan, epoch: int) -> Float:
    """Returns (m,): each item's share of the places HARD in the lists of ASKED users, without what they saw."""
    items = int(plan.shape["items"])
    first, last = (min(place, items // part) for place, part in zip(HARD, (10, 2), strict=True))
    if not plan.hard or last <= first:
        return np.zeros(items)
    rng, may = np.random.default_rng([plan.seed, epoch, HARD[0]]), able(sequences)
    asked = rng.choice(may, min(ASKED, len(may)), False)
    starts, ends = sequences.starts[asked], sequences.ends[asked]
    offered, taken = towers.tables(model, content)
    X = towers.vectors(model, taken, tower_sequences.known(sequences, starts, ends, plan.window)).astype(np.float32)
    listed_times = np.zeros(items, np.int64)
    for x, start, end in zip(X, starts, ends, strict=True):
        scores = offered @ x
        seen = sequences.items[start:end]
        scores[seen[seen >= 0]] = -np.inf
        best = np.argpartition(-scores, last)[:last]
        best = best[np.argpartition(-scores[best], first)[first:]]
        listed_times[best[scores[best] > -np.inf]] += 1
    return np.asarray(listed_times / max(1, listed_times.sum()))


def chances(shares: Float, plan: TrainingPlan, hard: Float, ranks: int = 1) -> Tensor:
    """Returns the log of each item's chance to be offered in a process's step, (m,). shares: that in an example."""
    items = int(plan.shape["items"])
    absent = plan.users / ranks * np.log1p(-np.minimum(shares, 1 - 1e-9)) + plan.drawn * np.log1p(-1 / max(items, 2))
    absent += plan.hard * np.log1p(-np.minimum(hard, 1 - 1e-9))
    return torch.from_numpy(np.log(-np.expm1(absent)).astype(np.float32))


def steps(
    sequences: Sequences, content: Rows, plan: TrainingPlan, epoch: int, rank: int, ranks: int, hard: Float
) -> Iterator[TrainingStep]:
    """Yields this process's part of each step; all processes have equally many."""
    every = np.repeat(np.arange(len(sequences.starts)), tower_sequences.counts(sequences, plan.ahead))
    order = np.random.default_rng([plan.seed, epoch]).permutation(every)
    rng = np.random.default_rng([plan.seed, epoch, rank])
    below = np.cumsum(hard)
    for at in range(0, len(order), plan.users):
        own = order[at : at + plan.users][rank::ranks]
        if len(order[at : at + plan.users]) >= ranks:
            yield step(sequences, own, content, plan, rng, below)


def step(
    sequences: Sequences, users: Int, content: Rows, plan: TrainingPlan, rng: np.random.Generator, below: Float
) -> TrainingStep:
    """Returns one process's step. below: the cumulative chances of the hard items."""
    examples = tower_sequences.drawn(sequences, users, plan.window, rng)
    rows = examples.users.taken
    drawn = rng.integers(0, int(plan.shape["items"]), plan.drawn)
    hard = np.searchsorted(below, below[-1] * rng.random(plan.hard if below[-1] else 0), "right")
    items, place = np.unique(np.concatenate([rows.columns, examples.wanted, drawn, hard]), return_inverse=True)
    shown, wanted = place[: len(rows.columns)], place[len(rows.columns) :][: len(examples.wanted)]
    of = np.repeat(np.arange(len(users)), np.diff(rows.indptr))
    offered, owners, asked, owners_of_shown = map(torch.from_numpy, (items, examples.owners, wanted, of))
    bags, features = towers.bags(rows._replace(columns=shown)), towers.bags(examples.users.features)
    words = towers.bags(towers.chosen(content, items))
    return TrainingStep(bags, features, offered, owners, asked, owners_of_shown, words, len(wanted))
