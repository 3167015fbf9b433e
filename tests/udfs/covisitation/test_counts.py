"""Pairs, decay and bounds against a count over docs/collaborative.md."""

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from headrace.udfs.covisitation.counts import (
    Cell,
    Counts,
    Decay,
    Event,
    change,
    contribution,
    lift,
    merge,
    table,
    top,
    trending,
)

DAY_MS = 86_400_000
CAP = 30
EVER = Decay(as_of=0, half_life=1e12, horizon=10_000)
Log = list[tuple[str, Event]]  # (user, event) in arrival order


def counts(log: Log, cap: int = CAP) -> Counts:
    users = {user for user, _ in log}
    return merge(*(contribution([event for who, event in log if who == user], DAY_MS, cap) for user in users))


def recount(log: Log, cap: int) -> dict[tuple[str, int, str, str], int]:
    """Counts bucket by bucket and pair by pair."""
    found: Counter[tuple[str, int, str, str]] = Counter()
    for user in {user for user, _ in log}:
        own = [event for who, event in log if who == user]
        bought = []
        for item in {event.item for event in own}:
            times = sorted(event.t_ms for event in own if event.item == item and event.action == "purchase")
            refunds = sum(event.item == item and event.action == "refund" for event in own)
            bought += [(t, item) for t in times[: max(0, len(times) - refunds)]]
        viewed = [(e.t_ms, e.item) for e in own if e.action in ("view", "click")]
        touches = ("view", "click", "like", "share", "rate", "cart")
        touched = [(e.t_ms, e.item) for e in own if e.action in touches] + bought
        for kind, did in {"viewed": viewed, "bought": bought, "touched": touched}.items():
            for bucket in {t // DAY_MS for t, _ in did}:
                firsts: dict[str, int] = {}
                for t, item in sorted(did):
                    if t // DAY_MS == bucket:
                        firsts.setdefault(item, t)
                items = sorted(sorted(firsts, key=lambda item: (firsts[item], item))[:cap])
                for i, a in enumerate(items):
                    found[kind, bucket, a, a] += 1
                    for b in items[i + 1 :] if kind != "touched" else []:
                        found[kind, bucket, a, b] += 1
    return dict(found)


def random_log(seed: int, events: int = 300) -> Log:
    rng = np.random.default_rng(seed)
    actions = ["view", "click", "purchase", "purchase", "refund", "like", "share", "rate", "ignore", "search", "block"]
    actions += ["cart", "uncart"]
    return [
        (
            f"u{rng.integers(12)}",
            Event(int(rng.integers(0, 4 * DAY_MS)), f"i{rng.integers(9)}", str(rng.choice(actions))),
        )
        for _ in range(events)
    ]


def plain(counted: Counts) -> dict[tuple[str, int, str, str], int]:
    return {(cell.kind, cell.bucket, cell.a, cell.b): count for cell, count in counted.items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cap", [1, 3, CAP])
def test_counts_equal_a_recount(seed: int, cap: int) -> None:
    log = random_log(seed)
    assert plain(counts(log, cap)) == recount(log, cap)


@pytest.mark.parametrize("seed", range(3))
def test_event_by_event_equals_the_batch_after_refunds_and_late_events(seed: int) -> None:
    """The log comes in no order of time, so most events are late; every prefix is compared."""
    log, live = random_log(seed, 120), Counter[Cell]()
    histories: dict[str, list[Event]] = {}
    for n, (user, event) in enumerate(log):
        before = contribution(histories.get(user, []), DAY_MS, 4)
        histories.setdefault(user, []).append(event)
        live = merge(live, change(before, contribution(histories[user], DAY_MS, 4)))
        assert plain(live) == recount(log[: n + 1], 4)


def test_merge_is_associative_and_commutative_and_forgets_zeros() -> None:
    parts = [counts(random_log(seed, 60)) for seed in range(3)]
    everything = merge(*parts)
    for a, b, c in permutations(parts):
        assert merge(merge(a, b), c) == merge(a, merge(b, c)) == everything
    assert merge(everything, change(everything, Counter())) == Counter()
    assert dict(merge(everything, change(everything, Counter()))) == {}


def test_a_shop_worked_by_hand() -> None:
    """Both saw lamp and bulb; only ann bought both, and gave the bulb back."""
    ann = [Event(0, "lamp", "view"), Event(1, "bulb", "click"), Event(2, "lamp", "purchase")]
    ann += [Event(3, "bulb", "purchase"), Event(DAY_MS, "bulb", "refund")]
    bob = [Event(0, "bulb", "view"), Event(0, "lamp", "view"), Event(9, "lamp", "view")]
    counted = merge(contribution(ann, DAY_MS, CAP), contribution(bob, DAY_MS, CAP))
    assert counted[Cell("viewed", 0, "bulb", "lamp")] == 2
    assert counted[Cell("viewed", 0, "lamp", "lamp")] == 2
    assert {cell for cell in counted if cell.kind == "bought"} == {Cell("bought", 0, "lamp", "lamp")}
    assert top(table(counted, "viewed"), "lamp", EVER, 5, shrink=2.0) == [("bulb", 0.5)]
    assert top(table(counted, "viewed"), "lamp", EVER, 5, 2.0, lift) == [("bulb", 0.125)]
    assert top(table(counted, "bought"), "lamp", EVER, 5, shrink=2.0) == []
    assert trending(table(counted, "touched"), EVER, 5) == [("bulb", 2.0), ("lamp", 2.0)]


def test_decay_by_hand() -> None:
    decay = Decay(as_of=10, half_life=2, horizon=5)
    assert decay.sum({10: 4, 8: 2, 6: 8}) == 4 + 1 + 2
    assert decay.sum({5: 100, 11: 100}) == 0
    assert decay.sum({}) == 0


def test_decay_is_rounded_once_whatever_the_order() -> None:
    rng = np.random.default_rng(1)
    by_bucket = {bucket: int(rng.integers(1, 10**6)) for bucket in range(200)}
    decay = Decay(as_of=199, half_life=7.3, horizon=200)
    shuffled = {int(bucket): by_bucket[int(bucket)] for bucket in rng.permutation(200)}
    assert decay.sum(by_bucket) == decay.sum(shuffled)
    assert decay.sum(by_bucket) == pytest.approx(
        sum(n * 2 ** ((b - 199) / 7.3) for b, n in by_bucket.items()), rel=1e-12
    )


def test_lists_equal_scores_worked_out_pair_by_pair() -> None:
    log, decay = random_log(8, 600), Decay(as_of=3, half_life=2.0, horizon=3)
    found = recount(log, CAP)
    weigh: dict[int, float] = {1: 0.5, 2: 2**-0.5, 3: 1.0}
    items = [f"i{n}" for n in range(9)]

    def decayed(kind: str, a: str, b: str) -> float:
        return sum(weigh[bucket] * found.get((kind, bucket, min(a, b), max(a, b)), 0) for bucket in weigh)

    for kind in ("viewed", "bought"):
        counted = table(counts(log), kind)
        for item in items:
            scores = {
                other: decayed(kind, item, other)
                / math.sqrt((decayed(kind, item, item) + 5) * (decayed(kind, other, other) + 5))
                for other in items
                if other != item
            }
            expected = sorted(((o, s) for o, s in scores.items() if s > 0), key=lambda pair: -pair[1])[:4]
            got = top(counted, item, decay, 4, shrink=5.0)
            assert [score for _, score in got] == pytest.approx([score for _, score in expected], rel=1e-12)
            assert [scores[other] for other, _ in got] == pytest.approx([score for _, score in got], rel=1e-12)


def test_equal_scores_come_by_item() -> None:
    shoppers = [contribution([Event(0, item, "view") for item in pair], DAY_MS, CAP) for pair in ("cd", "cb", "ca")]
    counted = table(merge(*shoppers), "viewed")
    assert [item for item, _ in top(counted, "c", EVER, 2, shrink=1.0)] == ["a", "b"]
    assert [item for item, _ in trending(counted, EVER, 3)] == ["c", "a", "b"]


def test_a_bestseller_does_not_head_every_list() -> None:
    """Everybody views the bestseller; 20 of 100 view both niche items, 5 more the one of them."""
    log: Log = [(f"u{n}", Event(0, "best", "view")) for n in range(100)]
    log += [(f"u{n}", Event(1, item, "view")) for n in range(20) for item in ("niche", "other")]
    log += [(f"u{n}", Event(1, "niche", "view")) for n in range(20, 25)]
    assert [item for item, _ in top(table(counts(log), "viewed"), "niche", EVER, 2, shrink=5.0)] == ["other", "best"]


def test_of_a_large_basket_the_first_items_count() -> None:
    late_but_first = [Event(5, "c", "view"), Event(6, "b", "view"), Event(6, "a", "view"), Event(7, "d", "view")]
    late_but_first += [Event(9, "c", "click"), Event(1, "d", "click")]
    assert set(contribution(late_but_first, DAY_MS, 3)) >= {Cell("viewed", 0, "a", "c"), Cell("viewed", 0, "a", "d")}
    assert not any("b" in (cell.a, cell.b) for cell in contribution(late_but_first, DAY_MS, 3))


@pytest.mark.parametrize("spread", [1, 500])
def test_ten_thousand_clicks_of_one_user_move_little(spread: int) -> None:
    """docs/collaborative.md, "What a single user can move"; in one day, on one item or on many."""
    log = random_log(3, 400)
    flood = [("poison", Event(n, f"x{n % spread}" if n % 2 else "i1", "click")) for n in range(10_000)]
    clean, poisoned = counts(log), counts(log + flood)
    moved = {cell: poisoned[cell] - clean[cell] for cell in poisoned | clean if poisoned[cell] != clean[cell]}
    assert set(moved.values()) == {1}
    assert sum(cell.kind == "viewed" and cell.a != cell.b for cell in moved) <= CAP * (CAP - 1) // 2
    assert sum(cell.kind == "viewed" and cell.a != cell.b and "i1" in (cell.a, cell.b) for cell in moved) <= CAP - 1
    decay, everything = Decay(3, 14, 90), 10**6
    before, after = (dict(trending(table(each, "touched"), decay, everything)) for each in (clean, poisoned))
    assert all(0 <= after[item] - before.get(item, 0.0) <= 1 for item in after)
    for item in ("i1", "i2", "x1"):
        old, new = (dict(top(table(each, "viewed"), item, decay, everything, 5.0)) for each in (clean, poisoned))
        assert all(new[other] - old.get(other, 0.0) <= 1 / 6 for other in new)
        assert all(new[other] >= old[other] * (1 - 1 / 10) ** 2 for other in old)


def test_a_user_of_every_day_is_bounded_for_ever() -> None:
    log = [Event(day * DAY_MS, item, "view") for day in range(2000) for item in "ab"]
    counted = table(contribution(log, DAY_MS, CAP), "viewed")
    assert 20 < Decay(1999, 14, 90).sum(counted.together["a"]["b"]) < 1 / (1 - 2 ** (-1 / 14))
    assert 1 / (1 - 2 ** (-1 / 14)) < 20.8
