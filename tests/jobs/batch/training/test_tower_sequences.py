"""Examples of two towers' training: what a history holds, what is asked for, and how often an item is in one."""

from pathlib import Path

import numpy as np
import pytest

from headrace.jobs.batch.training import tower_sequences
from headrace.jobs.batch.training.tower_sequences import Window
from headrace.udfs.factors.confidence import ACTIONS, NO_FEATURE, UNKNOWN, Events

pytest.importorskip("torch")
pytestmark = pytest.mark.spark  # whose environment has torch
M, BUCKETS = 12, 7
VIEW, DISLIKE, PURCHASE, SEARCH = (ACTIONS.index(name) for name in ("view", "dislike", "purchase", "search"))


def window(history: int = 4, ahead: int = 2) -> Window:
    return Window(M, BUCKETS, history, ahead, 10.0, 5.0)


def some(seed: int = 1, users: int = 40) -> Events:
    """Users of 0 to 20 events of few items, which so repeat; some are unknown, and some wanted by nobody."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(users), np.append(rng.integers(0, 21, users - 1), 3))
    n = len(owners)
    actions = rng.choice([VIEW, PURCHASE, DISLIKE, SEARCH], n, p=(0.6, 0.2, 0.1, 0.1))
    items = np.where(actions == SEARCH, UNKNOWN, (rng.random(n) ** 2 * M).astype(int))
    says = np.where(rng.random((n, 2)) < 0.3, NO_FEATURE, rng.integers(0, 1 << 32, (n, 2)))
    return Events(owners, items, actions, np.full(n, np.nan), np.arange(n), says)


def takes_of(events: Events, user: int) -> list[int]:
    """Returns the places where the user takes an item for the first time, one by one."""
    seen, places = set(), []
    for place in np.flatnonzero(events.users == user).tolist():
        item = int(events.items[place])
        if events.actions[place] in (VIEW, PURCHASE) and item not in seen:
            seen.add(item)
            places.append(place)
    return places


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_takes_are_the_first_events_that_want_an_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(tower_sequences, "AT_ONCE", at_once)
    events = some()
    tower_sequences.write(tmp_path, events, window())
    kept = tower_sequences.read(tmp_path)
    assert len(kept.starts) == 40
    for user in range(40):
        assert kept.takes[kept.take_starts[user] : kept.take_ends[user]].tolist() == takes_of(events, user)
        assert (events.users[kept.starts[user] : kept.ends[user]] == user).all()
    assert isinstance(kept.items.base, np.memmap)


def test_a_history_holds_nothing_of_its_targets_future(tmp_path: Path) -> None:
    """Whatever comes from the target on is made another: an example is the same, but for what it asks for."""
    events, w = some(), window(history=6, ahead=3)
    tower_sequences.write(tmp_path, events, w)
    kept = tower_sequences.read(tmp_path)
    able = np.flatnonzero(kept.take_ends - kept.take_starts >= 2)
    for seed in range(20):
        one = tower_sequences.drawn(kept, able, w, np.random.default_rng(seed))
        starts = np.searchsorted(one.owners, np.arange(len(able)))
        for row, user in enumerate(able.tolist()):
            targets = one.wanted[one.owners == row].tolist()
            takes = takes_of(events, user)
            at = [events.items[place] for place in takes].index(one.wanted[starts[row]])
            assert at >= 1
            assert targets == [int(events.items[place]) for place in takes[at : at + 3]]
            first = max(int(kept.starts[user]), takes[at] - 6)
            before = events.where(np.arange(first, takes[at]))._replace(users=np.zeros(takes[at] - first, np.int64))
            (folder := tmp_path / f"{seed}-{row}").mkdir()
            tower_sequences.write(folder, before, w)
            alone = tower_sequences.read(folder)
            expected = tower_sequences.known(alone, alone.starts, alone.ends, w)
            for ours, theirs in zip(one.users, expected, strict=True):
                here = slice(ours.indptr[row], ours.indptr[row + 1])
                np.testing.assert_array_equal(ours.columns[here], theirs.columns)
                np.testing.assert_array_equal(ours.strengths[here], theirs.strengths)
            assert not {*targets} & {*one.users.taken.columns[slice(*one.users.taken.indptr[row : row + 2])].tolist()}


@pytest.mark.parametrize(("history", "ahead"), [(1, 1), (4, 2), (3, 9), (50, 1)])
@pytest.mark.parametrize("at_once", [30, 10**6])
def test_a_share_is_how_often_an_item_is_in_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: int, ahead: int, at_once: int
) -> None:
    """Counted over all takes of all users. Events that want an item count, whether or not another takes it back."""
    monkeypatch.setattr(tower_sequences, "AT_ONCE", at_once)
    events, w = some(), window(history, ahead)
    tower_sequences.write(tmp_path, events, w)
    kept = tower_sequences.read(tmp_path)
    counts, total = tower_sequences.counts(kept, ahead), np.zeros(M)
    for user in range(40):
        takes = takes_of(events, user)
        assert counts[user] == (0 if len(takes) < 2 else -(-(len(takes) - 1) // ahead))
        for at in range(1, len(takes)):
            places = np.arange(max(int(kept.starts[user]), takes[at] - history), takes[at])
            shown = events.items[places[np.isin(events.actions[places], (VIEW, PURCHASE))]]
            offered = {*shown.tolist(), *events.items[takes[at : at + ahead]].tolist()}
            total[[*offered]] += counts[user] / (len(takes) - 1)
    np.testing.assert_allclose(tower_sequences.shares(kept, w), total / counts.sum(), rtol=1e-12)


def test_users_without_events_and_no_events_at_all(tmp_path: Path) -> None:
    nobody = some().where(np.empty(0, np.int64))
    tower_sequences.write(tmp_path, nobody, window())
    kept = tower_sequences.read(tmp_path)
    assert len(kept.starts) == 0
    assert tower_sequences.shares(kept, window()).tolist() == [0.0] * M
