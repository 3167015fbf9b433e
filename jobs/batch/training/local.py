"""`headrace train`: item factors from the clicks of a file, without Spark and without the lake.

Quality is measured as the stream answers. Each user's newest tenth of events is held out, and the factors are trained
on the rest. The user is folded in from the last `history` events of the rest, and the first 20 unseen items are
compared with the held-out ones. The 20 most popular unseen items are compared with them, too.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.infra.versions.factor_version import FactorContents
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Int, Objective
from headrace.udfs.factors.confidence import ACTIONS, UNKNOWN, Events, Histories, histories
from headrace.udfs.factors.top_n import NONE, Excluded, top_n

HELD_OUT = 0.1  # of each user's events, the newest; users of fewer than 10 have none held out
N = 20
USERS_AT_A_TIME = 512
POPULAR = 200  # items of the published list


class Training(NamedTuple):
    factors: int
    iterations: int
    objective: Objective
    half_life_ms: float
    rating_max: float
    history: int  # events that a user is folded in from
    seed: int

    def parameters(self) -> dict[str, Any]:
        """Returns the parameters as a version's manifest has them."""
        return self._asdict() | {"objective": self.objective._asdict()}


class ClickLog(NamedTuple):
    """Clicks as columns, in time order; item i is items[i]."""

    events: Events
    users: int
    items: list[str]


class Quality(NamedTuple):
    users: int
    recall: float
    ndcg: float
    popular_recall: float
    popular_ndcg: float


def read(clicks: Iterable[dict[str, Any]]) -> ClickLog:
    """Reads clicks into columns. Items are in the order of their ids, so the item map depends on the items alone.

    Raises ValueError if there is no click on an item.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    action = {name: code for code, name in enumerate(ACTIONS)}
    columns = [
        (
            users.setdefault(click["user_id"], len(users)),
            UNKNOWN if click["action"] == "search" else items.setdefault(click["item_id"], len(items)),
            action[click["action"]],
            math.nan if click.get("rating") is None else click["rating"],
            click["ts_ms"],
        )
        for click in clicks
        if click["user_id"] and click["item_id"]
    ]
    if not items:
        raise ValueError("the file must hold clicks on items, found none")
    user, item, code, rating, t_ms = (np.array(column) for column in zip(*columns, strict=True))
    names = sorted(items)
    place = np.empty(len(names) + 1, np.int64)
    place[[items[name] for name in names]] = np.arange(len(names))
    place[UNKNOWN] = UNKNOWN
    return ClickLog(Events(user, place[item], code, rating.astype(np.float64), t_ms), len(users), names)


def most_wanted(log: ClickLog, training: Training, left_out: Collection[str]) -> list[tuple[str, int]]:
    """Returns the items that most users wanted, with their number, without those left out.

    Raises ValueError if there is none: a version would have no list, and factors of zeros if nobody wanted any.
    """
    counts = np.bincount(_histories(log, log.events, training).rows.columns, minlength=len(log.items))
    if not counts.any():
        found = Counter(ACTIONS[code] for code in log.events.actions.tolist())
        actions = ", ".join(f"{number:,} {action}" for action, number in found.most_common())
        raise ValueError(f"the file must hold events of which somebody wants the item, found {actions} of no weight")
    best, absent = [item for item in np.argsort(-counts, kind="stable").tolist() if counts[item]], set(left_out)
    listed = [item for item in best if log.items[item] not in absent]
    if not listed:
        raise ValueError(f"the rules must leave items to list, but leave out all {len(best):,} that anybody wanted")
    return [(log.items[item], int(counts[item])) for item in listed[:POPULAR]]


def train(
    log: ClickLog, training: Training, after: Callable[[], None], left_out: Collection[str] = ()
) -> FactorContents:
    """Returns what a version of these clicks holds. `after` is called after each iteration.

    left_out: items that no list may hold. Raises ValueError as `most_wanted`, and if the factors are all 0.
    """
    popular = most_wanted(log, training, left_out)
    X, Y = _fit(log, log.events, training, after)
    factors = Y.astype(np.float32)
    if not factors.any():
        raise ValueError(f"the factors are all 0: reg must be smaller, got {training.objective.reg}")
    return FactorContents(factors, als.gram(X), log.items, popular, tuple(left_out))


def _fit(log: ClickLog, events: Events, training: Training, after: Callable[[], None]) -> als.Factors:
    rows = _histories(log, events, training).rows
    start = als.initial(len(log.items), training.factors, np.random.default_rng(training.seed))
    fitted = als.Factors(np.empty((0, training.factors), start.dtype), start)
    for fitted in als.train(rows, start, training.iterations, training.objective):  # noqa: B007
        after()
    return fitted


def _histories(log: ClickLog, events: Events, training: Training) -> Histories:
    return histories(events, log.users, len(log.items), training.half_life_ms, training.rating_max)


def measure(log: ClickLog, training: Training, after: Callable[[], None]) -> Quality:
    back = _from_the_newest(log.events.users)
    held = back < np.floor(HELD_OUT * np.bincount(log.events.users))[log.events.users]
    rest = log.events.where(~held)
    before = _histories(log, rest, training)
    wanted = _histories(log, log.events.where(held), training).rows
    relevant = _only_new(wanted, before.seen, len(log.items))
    Y = _fit(log, rest, training, after).Y.astype(np.float32)
    recent = rest.where(_from_the_newest(rest.users) < training.history)
    rows = _histories(log, recent, training).rows
    users = np.flatnonzero(np.array([bool(items) for items in relevant]))
    lists = _lists(als.solve(als.basis(Y), rows, training.objective), Y, before.seen, users)
    counts = np.bincount(before.rows.columns, minlength=len(Y)).astype(np.float32)
    popular = _lists(np.ones((log.users, 1)), counts[:, None], before.seen, users)
    return Quality(len(users), *_scores(lists, users, relevant), *_scores(popular, users, relevant))


def _from_the_newest(users: Int) -> Int:
    """Returns how many later events each event's user has; events are in time order."""
    order = np.argsort(users, kind="stable")
    back = np.empty(len(users), np.int64)
    back[order] = np.searchsorted(users[order], users[order], side="right") - 1 - np.arange(len(users))
    return back


def _only_new(wanted: als.Rows, seen: Excluded, items: int) -> list[set[int]]:
    """Returns the wanted items of each user that the user had not seen."""
    owners = np.repeat(np.arange(len(wanted.indptr) - 1), np.diff(wanted.indptr))
    fresh = ~np.isin(owners * items + wanted.columns, seen.users * items + seen.items)
    relevant: list[set[int]] = [set() for _ in range(len(wanted.indptr) - 1)]
    for user, item in zip(owners[fresh].tolist(), wanted.columns[fresh].tolist(), strict=True):
        relevant[user].add(item)
    return relevant


def _lists(X: NDArray[np.float64], Y: NDArray[np.float32], seen: Excluded, users: Int) -> Int:
    """Returns the top lists, (users, N)."""
    row = np.full(len(X), NONE)
    row[users] = np.arange(len(users))
    lists = [np.empty((0, N), np.int64)]
    for at in range(0, len(users), USERS_AT_A_TIME):
        rows = row[seen.users] - at
        here = (rows >= 0) & (rows < USERS_AT_A_TIME) & (row[seen.users] != NONE)
        excluded = Excluded(rows[here], seen.items[here])
        lists.append(top_n(X[users[at : at + USERS_AT_A_TIME]], Y, N, excluded).items)
    return np.concatenate(lists)


def _scores(lists: Int, users: Int, relevant: list[set[int]]) -> tuple[float, float]:
    """Returns the means over users of recall, hits / min(N, relevant), and of NDCG, ideal list of min(N, relevant)."""
    gains = 1 / np.log2(np.arange(2, N + 2))
    hits = np.array(
        [[item in relevant[user] for item in items] for user, items in zip(users, lists.tolist(), strict=True)]
    )
    possible = np.minimum(N, [len(relevant[user]) for user in users])
    if not len(users):
        return 0.0, 0.0
    return float(np.mean(hits.sum(axis=1) / possible)), float(np.mean((hits @ gains) / np.cumsum(gains)[possible - 1]))
