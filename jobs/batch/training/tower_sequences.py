"""What users did, oldest first, in files that each process of a training maps into memory; and examples of it.

A take is an event by which a user wants an item for the first time (weight > 0, udfs/factors/confidence.py). An example
is a take but the first: what is known before it, from the user's last `history` events, is asked for it and the takes
after it, `ahead` in all. So no history holds anything of its targets' future: neither an item, nor a strength, nor what
is known of the user.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headrace.infra import durable
from headrace.jobs.batch.training import towers
from headrace.jobs.batch.training.towers import Users
from headrace.udfs.factors import confidence
from headrace.udfs.factors.als import Float, Int, ranges
from headrace.udfs.factors.confidence import NO_FEATURE, UNKNOWN, Events, histories, user_features

AT_ONCE = 1_000_000  # events, of whole users, that are looked at together
TYPES = {"items": np.int32, "actions": np.int8, "ratings": np.float32, "t_ms": np.int64, "features": np.int16}


class Sequences(NamedTuple):
    """n events of all users, one user after the other; each field is a file."""

    items: Int  # (n,), places, or UNKNOWN
    actions: Int  # (n,)
    ratings: Float  # (n,)
    t_ms: Int  # (n,)
    features: Int  # (n, kinds), buckets, or NO_FEATURE
    starts: Int  # (users,), of each user's events
    ends: Int
    takes: Int  # (k,), places of those events that are takes, ascending
    take_starts: Int  # (users,), of each user's takes
    take_ends: Int


class Window(NamedTuple):
    """How a history is read."""

    items: int  # of the model
    buckets: int  # of users' features
    history: int  # events of a history, at most
    ahead: int  # takes that an example asks for, at most
    half_life_ms: float
    rating_max: float


class Examples(NamedTuple):
    users: Users  # what is known before
    owners: Int  # of each wanted item: the row of its user
    wanted: Int


def write(folder: Path, events: Events, window: Window) -> None:
    """Writes the files. events: of all users, one user after the other, each user's in order."""
    users = int(events.users[-1]) + 1 if len(events.users) else 0
    bounds = np.searchsorted(events.users, np.arange(users + 1))
    columns = events._asdict() | {"features": _buckets(events, window.buckets)}
    for name, kind in TYPES.items():
        durable.save(folder / f"{name}.npy", columns[name].astype(kind))
    blocks = [events.where(np.arange(*part)) for part in _blocks(bounds)]
    sizes = np.cumsum([0, *(len(block.users) for block in blocks)])
    parts = [at + _takes(block, window) for at, block in zip(sizes, blocks, strict=False)]
    takes = np.concatenate([*parts, np.empty(0, np.int64)])
    of_users = np.searchsorted(takes, bounds)
    places = {"starts": bounds[:-1], "ends": bounds[1:], "takes": takes}
    for name, array in (places | {"take_starts": of_users[:-1], "take_ends": of_users[1:]}).items():
        durable.save(folder / f"{name}.npy", array)


def read(folder: Path) -> Sequences:
    return Sequences(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in Sequences._fields))


def known(sequences: Sequences, starts: Int, ends: Int, window: Window) -> Users:
    """Returns what is known of users from the last of their events between a start and an end."""
    events = between(sequences, np.maximum(starts, ends - window.history), ends)
    rows = histories(events, len(ends), window.items, window.half_life_ms, window.rating_max).rows
    return towers.users(rows, user_features(events, len(ends)), window.buckets)


def between(sequences: Sequences, starts: Int, ends: Int) -> Events:
    """Returns the events of each range, as those of a user each."""
    places = ranges(starts, ends)
    owners = np.repeat(np.arange(len(ends)), ends - starts)
    items, actions, features = (
        column[places].astype(np.int64) for column in (sequences.items, sequences.actions, sequences.features)
    )
    return Events(owners, items, actions, sequences.ratings[places], sequences.t_ms[places], features)


def counts(sequences: Sequences, ahead: int) -> Int:
    """Returns how many examples an epoch has of each user: enough to ask for each take once; 0 of one take."""
    asked = sequences.take_ends - sequences.take_starts - 1
    return np.maximum(-(-asked // ahead), 0)


def drawn(sequences: Sequences, users: Int, window: Window, rng: np.random.Generator) -> Examples:
    """Returns an example of each user, of a take that is drawn evenly. users: of two takes and more."""
    first, end = sequences.take_starts[users] + 1, sequences.take_ends[users]
    at = first + np.floor(rng.random(len(users)) * (end - first)).astype(np.int64)
    last = np.minimum(at + window.ahead, end)
    wanted = sequences.items[sequences.takes[ranges(at, last)]].astype(np.int64)
    before = known(sequences, sequences.starts[users], sequences.takes[at], window)
    return Examples(before, np.repeat(np.arange(len(users)), last - at), wanted)


def shares(sequences: Sequences, window: Window) -> Float:
    """Returns the chance of each item to be in an example, in its history or asked for, (items,).

    Of a user, it is the share of their examples that have the item: those of the takes after an event with the item, as
    far as `history` reaches, and of the `ahead` takes up to the first. An event that is taken back later counts, too.
    """
    total, examples = np.zeros(window.items), counts(sequences, window.ahead)
    for first, end in _blocks(np.append(sequences.starts, len(sequences.items)), of_users=True):
        total += _shares(_part(sequences, first, end), window, examples[first:end])
    return total / max(1, int(examples.sum()))


def _shares(part: Sequences, window: Window, examples: Int) -> Float:
    """Returns the sum over users of examples times the share of them that have the item."""
    events = between(part, part.starts, part.ends)
    places = ranges(part.starts, part.ends)
    wanted = _wanted(events, window)
    owners, items, places = events.users[wanted], events.items[wanted], places[wanted]
    takes = part.takes[ranges(part.take_starts, part.take_ends)]
    sizes = part.take_ends - part.take_starts
    before = (np.cumsum(sizes) - sizes)[owners]
    # An event is in the histories of the takes `low` to `high` of its user; a take is asked for before them.
    low = np.searchsorted(takes, places, "right") - before
    high = np.searchsorted(takes, np.minimum(places + window.history, part.ends[owners] - 1), "right") - before - 1
    is_take = np.isin(places, takes)
    low = np.where(is_take, low - window.ahead, low)
    low, high = np.maximum(low, 1), np.minimum(high, sizes[owners] - 1)
    order = np.argsort(owners * window.items + items, kind="stable")
    owners, items, low, high = owners[order], items[order], low[order], high[order]
    is_same = np.append(False, (owners[1:] == owners[:-1]) & (items[1:] == items[:-1]))
    counted = np.where(is_same, np.append(0, high[:-1]), 0)
    own = np.maximum(high - np.maximum(low, counted + 1) + 1, 0)
    weight = examples[owners] / np.maximum(sizes[owners] - 1, 1)
    return np.bincount(items, own * weight, window.items).astype(np.float64)


def _part(sequences: Sequences, first: int, end: int) -> Sequences:
    """Returns some of the users."""
    bounds = {name: getattr(sequences, name)[first:end] for name in ("starts", "ends", "take_starts", "take_ends")}
    return sequences._replace(**bounds)


def _blocks(bounds: Int, of_users: bool = False) -> Iterator[tuple[int, int]]:
    """Yields ranges of events, or of users, of about AT_ONCE events of whole users. bounds: of the users' events."""
    first = 0
    while first < len(bounds) - 1:
        end = max(first + 1, int(np.searchsorted(bounds, bounds[first] + AT_ONCE, "right")) - 1)
        yield (first, end) if of_users else (int(bounds[first]), int(bounds[end]))
        first = end


def _wanted(events: Events, window: Window) -> Any:
    return (confidence.event_weights(events, window.rating_max) > 0) & (events.items != UNKNOWN)


def _takes(events: Events, window: Window) -> Int:
    """Returns the places of the takes, ascending."""
    wanted = np.flatnonzero(_wanted(events, window))
    cells = events.users[wanted] * window.items + events.items[wanted]
    return np.sort(wanted[np.unique(cells, return_index=True)[1]])


def _buckets(events: Events, buckets: int) -> Int:
    if events.features is None or not buckets:
        return np.empty((len(events.users), 0), np.int64)
    return np.where(events.features == NO_FEATURE, NO_FEATURE, events.features % buckets)
