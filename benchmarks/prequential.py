"""Recall@20 in time order: recommend from what the user has done so far, see what they take next, learn it, go on.

A version is trained on the first half of a data set, as `headrace train --factors 64 --iterations 10 --unobserved 1`
does. Over the second half, before each event (or each of at most ASKED, evenly spread) every recommender names 20 items
that the user's history does not have:

live        what the job writes to Redis: headrace.udfs.recommenders.live_lists.lists on the user's last 50 events
sequential  the same algorithm, one event after another, with a direct solve each; it shares no code with udfs
nightly     the user's vector as of training, never folded in again
popular     the items that most events so far were about

A user unknown to live, sequential or nightly gets the version's popular items, as readers would. An event counts if a
positive action takes an item that the history does not have, since no recommender may name another. Items that came
after training are in no version, and count against it.

Published figures of session-based recommenders are not comparable: they hold out the last sessions of data sets such as
YooChoose, within sessions of one visit, and train until the day before. Here users come back over months.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from rich.progress import track

from benchmarks.clicks import DATA, sound
from benchmarks.harness import Result, console, table
from headrace.edge import datasets
from headrace.jobs.batch.training import local
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als
from headrace.udfs.factors.als import Float
from headrace.udfs.factors.confidence import histories
from headrace.udfs.history import EVENT
from headrace.udfs.recommenders import live_lists
from headrace.udfs.recommenders.als_scorer import AlsScorer
from headrace.udfs.recommenders.live_lists import Serving
from tests.oracles.collaborative import Acted, Version, strengths, weight

DATASETS = ("movielens", "online-retail")
ASKED = 50_000
N, HISTORY, BATCH = 20, 50, 256
HALF_LIFE_DAYS, DAY_MS = 90.0, 86_400_000  # as that command has it, with the factors and the objective
HOW = Training(64, 10, als.ials(), HALF_LIFE_DAYS * DAY_MS, 5.0, HISTORY, seed=1)
UNSEEN = ("search", "ignore")


class Ask(NamedTuple):
    """What a user had done, oldest first, and the item that they took next."""

    user: str
    events: tuple[Acted, ...]
    item: str
    popular: list[str]  # as of then, without what was seen


class Nightly(NamedTuple):
    """What is known when the replay begins."""

    serving: Serving
    version: Version  # the same for the oracle
    items: list[str]
    gram: Float  # (f, f), Y'Y
    vectors: dict[str, Float]  # of users
    popular: list[str]  # best first


def main() -> Result:
    ours, peers, rows = {}, {}, []
    conditions: dict[str, Any] = {}
    for name in DATASETS:
        clicks = list(sound(datasets.open_dataset(name, DATA)))
        hits, about = measure(clicks, HOW)
        recall = {way: float(each.mean()) for way, each in hits.items()}
        known = hits["known"].astype(bool)
        of_known = {way: float(each[known].mean()) for way, each in hits.items()}
        ours[name], peers[name] = recall["live"], {way: recall[way] for way in recall if way not in ("live", "known")}
        conditions[name] = about | {"known users": of_known, "share of known users": recall["known"]}
        ways = [way for way in recall if way != "known"]
        rows += [(datasets.DATASETS[name].title, way, recall[way], of_known[way]) for way in ways]
    table(f"Recall@{N} of the next item", ("data", "way", "all", "users known in training"), rows)
    ratio = min(ours[name] / peers[name]["sequential"] for name in DATASETS)
    conditions |= {"n": N, "history": HISTORY, "training": HOW.parameters()}
    return Result("prequential", ours, peers, ratio, "the sequential oracle, worst data set", f"recall@{N}", conditions)


def measure(clicks: list[dict[str, Any]], how: Training, asked: int = ASKED) -> tuple[dict[str, Float], dict[str, Any]]:
    """(of each way, for each event that counts, 1 if its list held the item; figures on what was measured)."""
    first = len(clicks) // 2
    nightly = train(clicks[:first], how)
    asks = list(questions(clicks, first, asked))
    lists = {"live": [*answers(nightly, asks, how.history)]}
    sequential = track(asks, "sequential", console=console)
    lists["sequential"] = [direct(nightly, ask) for ask in sequential]
    lists["nightly"] = [frozen(nightly, ask) for ask in asks]
    lists["popular"] = [ask.popular for ask in asks]
    hits = {
        way: np.array([ask.item in each for ask, each in zip(asks, found, strict=True)], np.float64)
        for way, found in lists.items()
    }
    hits["known"] = np.array([ask.user in nightly.vectors for ask in asks], np.float64)
    new = float(np.mean([ask.item not in nightly.version.places for ask in asks]))
    return hits, {"events": len(clicks), "asked": len(asks), "items": len(nightly.serving.items), "new items": new}


def train(clicks: list[dict[str, Any]], how: Training) -> Nightly:
    log = local.read(clicks)
    contents = local.train(log, how, lambda: None)
    parameters = {"objective": how.objective._asdict(), "half_life_ms": how.half_life_ms, "rating_max": how.rating_max}
    scorer = AlsScorer(contents.items, contents.item_factors, how.objective)
    serving = live_lists.serving("first-half", scorer, parameters)
    rows = histories(log.events, log.users, len(log.items), how.half_life_ms, how.rating_max).rows
    users = dict.fromkeys(click["user_id"] for click in clicks)
    vectors = dict(zip(users, als.solve(als.basis(scorer.Y), rows, how.objective), strict=True))
    Y, places = scorer.Y.astype(np.float64), {item: n for n, item in enumerate(contents.items)}
    version = Version("first-half", places, Y, *how.objective, how.half_life_ms, how.rating_max)
    return Nightly(serving, version, contents.items, Y.T @ Y, vectors, [item for item, _ in contents.popular])


def questions(clicks: list[dict[str, Any]], first: int, asked: int) -> Iterator[Ask]:
    """Of the events from `first` on, in order."""
    done = defaultdict[str, deque[Acted]](lambda: deque(maxlen=HISTORY))
    items = list(dict.fromkeys(click["item_id"] for click in clicks))
    place, counts = {item: n for n, item in enumerate(items)}, np.zeros(len(items))
    every = -(-(len(clicks) - first) // asked)
    for n, click in enumerate(clicks):
        user, item = click["user_id"], click["item_id"]
        acted = Acted(item, click["action"], click["ts_ms"], click.get("rating"))
        positive = weight(acted, HOW.rating_max) > 0
        if n >= first and (n - first) % every == 0 and positive and item not in _seen(done[user]):
            yield Ask(user, tuple(done[user]), item, _best(counts, items, done[user]))
        done[user].append(acted)
        counts[place[item]] += positive


def answers(nightly: Nightly, asks: list[Ask], history: int) -> Iterator[list[str]]:
    """Each list depends on its own history alone, so that batches change nothing."""
    for at in range(0, len(asks), BATCH):
        part = asks[at : at + BATCH]
        found = live_lists.lists(nightly.serving, [packed(ask.events[-history:]) for ask in part], [0] * len(part), N)
        for ask, each in zip(part, found, strict=True):
            yield [entry["item"] for entry in msgspec.json.decode(each)["items"]] if each else _popular(nightly, ask)


def packed(events: tuple[Acted, ...]) -> bytes:
    """As the JVM keeps them."""
    names = [
        live_lists.named(event.item, event.rating if event.action == "rate" else None).encode() for event in events
    ]
    heads = (
        EVENT.pack(EVENT.size - 2 + len(name), n, event.t, 1, 0, live_lists.ACTIONS.index(event.action))
        for n, (event, name) in enumerate(zip(events, names, strict=True))
    )
    return b"".join(chain.from_iterable(zip(heads, names, strict=True)))


def direct(nightly: Nightly, ask: Ask) -> list[str]:
    v = nightly.version
    r = strengths(v, ask.events) if ask.events else {}
    if not r:
        return _popular(nightly, ask)
    own, given = v.Y[[v.places[item] for item in r]], np.array(list(r.values()))
    A = v.w0 * nightly.gram + (own.T * (v.alpha * given)) @ own
    A += v.reg * (len(r) + v.w0 * len(v.Y)) ** v.nu * np.eye(len(A))
    x = np.linalg.solve(A, own.T @ (v.alpha * given + v.w0 * v.target))
    return _best(v.Y @ x, nightly.items, ask.events)


def frozen(nightly: Nightly, ask: Ask) -> list[str]:
    vector = nightly.vectors.get(ask.user)
    if vector is None or not vector.any():
        return _popular(nightly, ask)
    return _best(nightly.version.Y @ vector, nightly.items, ask.events)


def _best(scores: Float, items: list[str], events: Sequence[Acted]) -> list[str]:
    """The first N that the events do not hold; equal scores by place."""
    seen = _seen(events)
    first = np.argsort(-scores, kind="stable")[: N + len(seen)]
    return _without([items[place] for place in first.tolist()], seen)


def _popular(nightly: Nightly, ask: Ask) -> list[str]:
    return _without(nightly.popular, _seen(ask.events))


def _without(items: list[str], seen: set[str]) -> list[str]:
    return [item for item in items if item not in seen][:N]


def _seen(events: Sequence[Acted]) -> set[str]:
    return {event.item for event in events if event.action not in UNSEEN}
