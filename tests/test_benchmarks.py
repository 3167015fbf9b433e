"""The benchmarks that need no stack: on tiny cases their numbers are what they claim."""

import importlib
import json
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import bandit_sums, federated_bytes, fold_in, open_loop, plot, prequential, regret, shoppers
from benchmarks.open_loop import Measured, Probe, Span
from benchmarks.peers import features, live_sessions
from benchmarks.peers.features import User
from benchmarks.regret import Learner, Run
from benchmarks.shoppers import ITEMS, World
from headrace.infra.settings import Bandit, load
from headrace.jobs.batch.training.local import Training
from headrace.schemas import live_session, redis_keys
from headrace.udfs import history
from headrace.udfs.bandit import arms, reward
from headrace.udfs.bandit.context import SHOPPER
from headrace.udfs.factors import als
from tests.oracles import live as oracle
from tests.oracles.collaborative import Acted

CHOICES = 400


@pytest.fixture(scope="module")
def rules() -> Bandit:
    return load().bandit


def simple(rewards: float = 1.0) -> World:
    """One item is always clicked, the others never; each choice is a minute after the last."""
    X = np.zeros((CHOICES, ITEMS, SHOPPER.d))
    X[:, :, 0] = 1.0
    p = np.zeros((CHOICES, ITEMS))
    p[:, 3] = 1.0
    return World(60.0 * np.arange(CHOICES), X, p, rewards * p)


@pytest.mark.parametrize("name", command.NAMES)
def test_each_benchmark_can_be_run(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)


def test_who_knows_the_best_item_regrets_nothing() -> None:
    assert not regret.best_for_all(simple()).any()
    assert not regret.best_linear(simple()).any()


def test_uniform_regrets_alike_at_every_choice(rules: Bandit) -> None:
    got = regret.regret(1, simple(), Run("uniform", {}), rules)
    expected = (1 - 1 / ITEMS) * np.array([CHOICES / 2, CHOICES])
    assert got[[CHOICES // 2 - 1, -1]] == pytest.approx(expected, abs=4 * np.sqrt(CHOICES / ITEMS))


def test_a_learner_soon_regrets_no_more_than_it_explores(rules: Bandit) -> None:
    got = regret.regret(1, simple(), Run("linucb", {"alpha": 1.0}), rules)
    assert got[-1] - got[CHOICES // 2] < 0.3 * CHOICES / 2
    assert regret.regret(1, simple(), Run("linucb", {"alpha": 1.0}, exploration=0.0), rules)[-1] < 2 * ITEMS


def test_feedback_that_never_comes_is_no_feedback(rules: Bandit) -> None:
    never = regret.regret(1, simple(), Run("epsilon_greedy", {}, delay_s=1e9), rules)
    assert never.tolist() == regret.regret(1, simple(0.0), Run("epsilon_greedy", {}), rules).tolist()
    late = regret.regret(1, simple(), Run("epsilon_greedy", {}, delay_s=600.0), rules)
    assert regret.regret(1, simple(), Run("epsilon_greedy", {}), rules)[-1] < late[-1] < never[-1]


def test_the_learner_knows_what_the_sums_say() -> None:
    rng = np.random.default_rng(1)
    X, shown, r = arms.quantise(rng.normal(size=(60, 5))), rng.integers(3, size=60), rng.integers(3, size=60) / 2
    learner = Learner(3, 5, 0.5)
    for arm, x in zip(shown.tolist(), X, strict=True):
        learner.shown(arm, x)
    for arm, x, each in zip(shown.tolist(), X, r.tolist(), strict=True):
        learner.rewarded(arm, x, each)
    first, statistics = arms.partials(shown.tolist(), X, np.ones(60), r)
    expected = arms.solve(statistics, 0.5)
    for place, arm in enumerate(shown[first].tolist()):
        got = list(learner.views())[arm]
        np.testing.assert_allclose(got.theta, expected.theta[place], rtol=0, atol=1e-12)
        np.testing.assert_allclose(got.A_inv, expected.A_inv[place], rtol=0, atol=1e-12)
        assert got.n == expected.n[place]


def test_shoppers_click_as_often_as_they_should() -> None:
    p = np.tile([0.02, 0.3, 0.9], (20_000, 1))
    got = shoppers.rewards(p, np.random.default_rng(1))
    assert (got > 0).mean(axis=0) == pytest.approx(p[0], abs=0.015)
    assert set(np.unique(got)) <= set(reward.RewardRule().table.ravel())
    world = shoppers.world(seed=1, choices=20, rate=2.0)
    assert world.X.shape == (20, ITEMS, SHOPPER.d)
    assert (np.diff(world.t_s) >= 0).all()
    again = shoppers.world(seed=1, choices=20, rate=2.0)
    assert all((one == other).all() for one, other in zip(world, again, strict=True))


def test_batches_and_the_loop_learn_the_same() -> None:
    log = bandit_sums.log(k=7, d=4, n=300)
    ours, loop = bandit_sums.batches(log, 0.5, 64), bandit_sums.sherman_morrison(log, 0.5)
    assert ours.keys() == loop.keys() == set(range(7))
    assert bandit_sums.difference(ours, loop) < 1e-12
    own = log.arms == 2
    theta = np.linalg.solve(log.X[own].T @ log.X[own] + 0.5 * np.eye(4), log.X[own].T @ log.r[own])
    np.testing.assert_allclose(ours[2].theta, theta, rtol=0, atol=1e-12)
    assert ours[2].n == loop[2].n == own.sum()


def test_the_three_ways_of_folding_in_list_the_same_items() -> None:
    serving = fold_in.catalogue(500)
    batch = fold_in.batch(serving, users=3, seed=1)
    ranked = fold_in.ranked(serving, batch)
    assert fold_in.agreement(ranked, fold_in.scanned(serving, batch)) == 1.0
    assert fold_in.agreement(ranked, ranked[::-1]) < 1.0
    for row, listed in zip(ranked.tolist(), fold_in.listed(serving, batch), strict=True):
        assert listed is not None
        entries = json.loads(listed)["items"]
        assert [entry["item"] for entry in entries] == [serving.serving.items[item] for item in row]


def checkerboard(users: int, items: int, seed: int) -> list[dict[str, object]]:
    """Each user buys items of their own colour, in an order of their own; users take turns."""
    rng = np.random.default_rng(seed)
    orders = [2 * rng.permutation(items // 2) + user % 2 for user in range(users)]
    return [
        {"user_id": f"u{user}", "item_id": f"i{orders[user][step]:03d}", "action": "purchase", "ts_ms": step * 60_000}
        for step in range(items // 2)
        for user in range(users)
    ]


def test_live_lists_know_the_colour_and_are_those_of_the_oracle() -> None:
    how = Training(4, 5, als.ials(), 1e12, 5.0, 50, seed=1)
    hits, about = prequential.measure(checkerboard(users=30, items=80, seed=1), how)
    assert about["asked"] == 30 * 20
    assert (hits["live"] == hits["sequential"]).all()
    assert hits["live"].mean() > 0.9 > 0.6 > hits["popular"].mean()
    assert hits["known"].all()
    assert about["new items"] == 0


def test_a_question_knows_what_came_before_it_and_no_more() -> None:
    steps = [("u1", "b"), ("u1", "a"), ("u2", "a"), ("u2", "c"), ("u2", "a"), ("u3", "a")]
    clicks = [{"user_id": u, "item_id": i, "action": "purchase", "ts_ms": n} for n, (u, i) in enumerate(steps)]
    first, second = prequential.questions(clicks, 3, 100)
    assert (first.user, first.item, first.popular) == ("u2", "c", ["b", "c"])
    assert first.events == (Acted("a", "purchase", 2, None),)
    assert (second.user, second.item, second.popular) == ("u3", "a", ["a", "b", "c"])


def test_histories_are_packed_as_the_jvm_does() -> None:
    events = (Acted("é:1", "rate", 5, 4.5), Acted("", "search", 6, None))
    got = history.decode(prequential.packed(events))
    assert got.items == ["4.5:é:1", ":"]
    assert got.t_ms == [5, 6]


def test_a_plot_shows_each_point_at_its_place() -> None:
    line = plot.Line("<a>", [0.0, 5.0, 10.0], "#000000", half_width=[0.0, 0.0, 0.0])
    root = ElementTree.fromstring(plot.svg("title", "x", "y", [0, 1, 2], [line]))
    points = [each.get("points") for each in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert f"{plot.LEFT:.1f},{plot.BOTTOM:.1f} 360.0,255.0 {plot.RIGHT:.1f},{plot.TOP:.1f}" in points
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<a>", "title", "x", "y", "0", "2", "4", "10"} <= set(words)


def test_a_federated_round_costs_its_chunks() -> None:
    """3 fields a slot: 10,000 numbers are one chunk; so 50 nodes are added 50 times and one sum is opened."""
    found = federated_bytes.case(10_000, 50, 8.0, federated_bytes.Seconds(1.0, 2.0, 3.0))
    assert found["bytes"] * 10_000 == 65_536 + 41 + len("node-000001") + 32
    assert (found["encrypt s"], found["sum s"], found["open s"]) == (1.0, 100.0, 3.0)


def test_an_open_loop_counts_a_stall_by_all_that_it_held_up() -> None:
    """100 probes, 10 ms apart, each seen after 2 ms; but nothing is seen while a checkpoint runs, from 500 to 700."""
    times = [10.0 * n for n in range(100)]
    probes = [Probe(at, at + 1, 700.0 if 498 < at < 700 else at + 2) for at in times]
    found = open_loop.figures(Measured([*probes, Probe(1000, 1001, None)], [Span(500, 700)], {"redis": 0.1}))
    assert (found["probes"], found["lost"], found["highest"]) == (100, 1, 200.0)
    assert (found["p50"], found["p90"]) == (2.0, 101.0)
    assert (found["with a checkpoint"]["probes"], found["without"]["probes"]) == (21, 79)
    assert found["without"]["highest"] == 2.0
    assert (found["checkpoints_ms"], found["sent late, p99"], found["cores"]) == ([200], 1.0, {"redis": 0.1})


def test_a_probe_meets_a_checkpoint_that_was_under_way() -> None:
    every = {(0, 99): False, (0, 100): True, (150, 160): True, (200, 300): True, (201, 300): False, (0, None): True}
    for (intended_ms, seen_ms), expected in every.items():
        assert open_loop.meets(Probe(intended_ms, intended_ms, seen_ms), [Span(100, 200)]) == expected


def test_peers_write_what_the_job_writes() -> None:
    """Values by the oracle of docs/semantics.md."""
    rules, user = load().session, User()
    acts = [("view", "a", None), ("purchase", "a", 2.5), ("search", "b", None), ("view", "\u00e9", 1.0)]
    begun_ms = 1_767_268_800_000
    clicks: list[dict[str, Any]] = [
        {"event_id": f"{n}", "user_id": "ann", "item_id": item, "action": action, "price": price}
        | {"category": "lamps", "ts_ms": begun_ms + 7_000 * n}
        for n, (action, item, price) in enumerate(acts)
    ]
    live = oracle.Live("", begun_ms, begun_ms)
    events = [oracle.event_of(click, int(click["ts_ms"])) for click in clicks]
    for click, event in zip(clicks, events, strict=True):
        assert features.count(user, features.decode(msgspec.json.encode(click)), event.t + 1, rules)
        live.apply(event)
    expected = oracle.fields(live, features.ACTIONS, ZoneInfo("UTC")) | {"as_of_ms": events[-1].t + 1}
    expected |= {
        name: json.loads(value) if isinstance(value, str) else value
        for name, value in oracle.recent(events, 4, rules.recent).items()
    }
    assert live_session.decode(live_sessions.value(user)) == expected
    command = live_sessions.command("ann", user)
    assert command.startswith(b"*5\r\n$3\r\nSET\r\n$11\r\nsession:ann\r\n")
    assert command.endswith(b"$4\r\nPXAT\r\n$13\r\n%d\r\n" % (events[-1].t + 1 + redis_keys.SESSION_TTL_MS))
