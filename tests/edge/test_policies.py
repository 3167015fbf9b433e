"""edge/policies.py under edge/recommendations.py: what posteriors in Redis choose, and with which propensities."""

import os
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from redis import Redis

from headrace.edge.policies import POLICIES, Dice, Posteriors, chooser, name_of
from headrace.edge.recommendations import FRESH_S, Recommendations, policy
from headrace.infra.settings import load
from headrace.schemas import redis_keys
from headrace.udfs.bandit import arms, sums_version
from headrace.udfs.bandit.context import Encoder, Match, Number
from headrace.udfs.bandit.slate import Chooser
from tests.edge.redis_lists import ITEMS, LEARNT, POPULARITY, items_of, learned, publish, teach

GREEDY = {"exploration": 0.0, "exploration_max": 0.0}


def by_popularity(redis: Redis, how: Chooser, **options: Any) -> Recommendations:
    return Recommendations(redis, None, how, encoder=POPULARITY, **options)


def propensities(scores: dict[str, float], new: set[str], shown: Sequence[str], how: Chooser) -> list[float]:
    """Computes docs/bandit.md, "Slates and propensities", word by word."""
    left, found = dict(scores), []
    for item in shown:
        k, k_new = len(left), len(new & left.keys())
        best = [each for each in left if left[each] == max(left.values())]
        e, g = how.exploration, min(how.new_exposure * k_new, how.exploration_max - how.exploration)
        chosen = (1 - e - g) * (item in best) / len(best)
        found.append(chosen + e / k + (g / k_new if item in new else 0))
        del left[item]
    return found


def test_a_slate_has_the_propensities_of_the_docs(redis: Redis) -> None:
    """linucb's scores by hand: contexts are (1, popularity), `d` has no posterior."""
    publish(redis)
    known = {"a": ([0.1, 0.2], 80.0), "b": ([0.4, 0.4], 60.0), "c": ([0.2, 0.0], 10.0)}
    for item, (theta, n) in known.items():
        teach(redis, redis_keys.bandit("linucb", LEARNT), item, learned(theta, n))
    how = Chooser(policy("linucb", alpha=0.5), new_exposure=0.03)
    scores = {"d": 0.5 * np.sqrt(1 + 0.25**2)}
    for item, (theta, _) in known.items():
        x = np.array([1, ITEMS[item] / 100])
        scores[item] = float(np.array(theta) @ x + 0.5 * np.sqrt(1e-4 * x @ x))
    recommendations, rng, first = by_popularity(redis, how), np.random.default_rng(3), set()
    for _ in range(200):
        shown = recommendations.for_user("ann", 3, rng=rng)
        assert len(set(items_of(shown))) == 3
        expected = propensities(scores, {"c", "d"}, items_of(shown), how)
        assert shown.propensities == pytest.approx(expected, abs=1e-12)
        first.add(items_of(shown)[0])
    assert first == set(ITEMS)


def test_an_arm_without_a_posterior_has_the_prior(redis: Redis) -> None:
    """The others are certain to bring .5; the prior's bound is alpha sqrt(x'x), 1.03 for `d`, and 1.41 for `a`."""
    publish(redis)
    key, how = redis_keys.bandit("linucb", LEARNT), Chooser(policy("linucb", alpha=1.0), **GREEDY)
    redis.hset(key, mapping={item: learned([0.5, 0.0], 1000, ((0, 0), (0, 0))) for item in "abc"})
    recommendations = by_popularity(redis, how)
    assert items_of(recommendations.for_user("ann", 1)) == ["d"]
    redis.hdel(key, "a")  # an arm that is gone has the prior again, a second later at most
    time.sleep(FRESH_S)
    assert items_of(recommendations.for_user("ann", 2)) == ["a", "d"]


def test_a_posterior_is_read_again_after_a_second(redis: Redis) -> None:
    publish(redis)
    key, how = redis_keys.bandit("epsilon_greedy", LEARNT), Chooser(policy("epsilon_greedy"), **GREEDY)
    teach(redis, key, "b", learned([1.0, 0.0], 100))
    recommendations = by_popularity(redis, how)
    assert items_of(recommendations.for_user("ann", 1)) == ["b"]
    teach(redis, key, "c", learned([2.0, 0.0], 100))
    time.sleep(FRESH_S)
    assert items_of(recommendations.for_user("ann", 1)) == ["c"]


def test_two_ways_of_one_policy_are_kept_apart_by_their_names(redis: Redis) -> None:
    publish(redis)
    teach(redis, redis_keys.bandit("mine", LEARNT), "c", learned([2.0, 0.0], 100))
    how = Chooser(policy("epsilon_greedy"), **GREEDY)
    assert items_of(by_popularity(redis, how, name="mine").for_user("ann", 1)) == ["c"]
    tied = by_popularity(redis, how).for_user("ann", 1)
    assert tied.propensities == (0.25,)


def of_popularity(slope: float, seed: int) -> bytes:
    """Returns arms after 400 impressions at various popularities, each with a reward of slope x popularity."""
    X = np.column_stack([np.ones(400), np.random.default_rng(seed).random(400)])
    sums = arms.Statistics((X.T @ X)[None], (X.T @ (slope * X[:, 1]))[None], np.array([400.0]))
    return arms.pack_posterior(arms.solve(sums, 1.0))[0]


@pytest.mark.parametrize(("name", "settings"), [("hybrid_linucb", {"alpha": 0.0}), ("hybrid_thompson", {"v": 0.01})])
def test_a_hybrid_policy_knows_of_a_new_item_what_others_taught(
    redis: Redis, name: str, settings: dict[str, Any]
) -> None:
    """For every arm shown so far popularity was worth 2: so the most popular item comes first, never shown itself."""
    publish(redis)
    taught = {f"other-{seed}": of_popularity(2.0, seed) for seed in range(20)} | {"c": of_popularity(2.0, 99)}
    redis.hset(redis_keys.bandit(name, LEARNT), mapping=taught)
    how = Chooser(policy(name, d=POPULARITY.d, **settings), **GREEDY)
    shown = by_popularity(redis, how).for_user("ann", 4)
    assert items_of(shown) == ["a", "b", "c", "d"]
    assert shown.propensities == pytest.approx((1.0,) * 4, abs=0.05)
    alone = by_popularity(redis, Chooser(policy("epsilon_greedy"), **GREEDY), name=name).for_user("ann", 1)
    assert items_of(alone) == ["c"]


def test_a_hybrid_policy_without_arms_has_the_prior(redis: Redis) -> None:
    """Then the widest context has the highest bound: that of the most popular."""
    publish(redis)
    shown = by_popularity(redis, Chooser(policy("hybrid_linucb", d=2), **GREEDY)).for_user("ann", 4)
    assert items_of(shown) == ["a", "b", "c", "d"]


def test_what_a_context_is_made_of(redis: Redis) -> None:
    """Session, the category of the newest item, popularity, and fields of the caller's catalogue."""
    publish(redis)
    redis.set(redis_keys.session("ann"), '{"events": 3, "recent_items": ["", "b", "a"]}')
    encoder = Encoder((Number("user", "events", 4.0), Number("item", "popularity", 1.0), Match("category", "category")))
    catalogue = {"a": {"category": "lamps"}, "b": {"category": "rugs"}, "c": {"category": "rugs"}}
    how = Chooser(policy("epsilon_greedy"), **GREEDY)
    recommendations = Recommendations(redis, None, how, encoder=encoder, catalogue=catalogue)
    theta = np.zeros((1, 4))
    theta[0, 3] = 1.0  # a match is all that counts
    for item in ITEMS:
        packed = arms.pack_posterior(arms.Posterior(theta, np.eye(4)[None] * 1e-6, np.full(1, 100.0)))[0]
        teach(redis, redis_keys.bandit("epsilon_greedy", sums_version.of_encoder(encoder)), item, packed)
    shown = recommendations.for_user("ann", 2)
    assert set(items_of(shown)) == {"b", "c"}
    assert shown.propensities == (0.5, 1.0)


def test_only_the_first_candidates_are_chosen_among(redis: Redis) -> None:
    publish(redis)
    recommendations = by_popularity(redis, Chooser(policy("uniform")), candidates=2)
    assert {item for _ in range(30) for item in items_of(recommendations.for_user("ann", 4))} == {"a", "b"}


def test_the_chooser_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    monkeypatch.setenv("HEADRACE_BANDIT__EXPLORATION", "0.05")
    for name in POLICIES:
        monkeypatch.setenv("HEADRACE_BANDIT__POLICY", name)
        made = chooser(load().bandit)
        assert (name_of(made.policy), made.exploration, made.exploration_max) == (name, 0.05, 0.2)


def test_learners_of_two_versions_are_kept_apart(redis: Redis) -> None:
    """Arms of another encoder or rule are another reader's: none of them is read, whatever its length."""
    publish(redis)
    narrow = Encoder(())
    other = arms.pack_posterior(arms.Posterior(np.ones((1, 1)), np.eye(1)[None], np.ones(1)))[0]
    redis.hset(
        redis_keys.bandit("epsilon_greedy", sums_version.of_encoder(narrow)), mapping=dict.fromkeys("abcd", other)
    )
    teach(redis, redis_keys.bandit("epsilon_greedy", "another rule"), "b", learned([1.0, 0.0], 100))
    teach(redis, redis_keys.bandit("epsilon_greedy", LEARNT), "c", learned([1.0, 0.0], 100))
    how = Chooser(policy("epsilon_greedy"), **GREEDY)
    assert items_of(by_popularity(redis, how).for_user("ann", 1)) == ["c"]
    assert items_of(by_popularity(redis, how, learnt="another rule").for_user("ann", 1)) == ["b"]
    assert Recommendations(redis, None, how, encoder=narrow).for_user("ann", 4).propensities == (0.25, 1 / 3, 0.5, 1.0)


THREADS, ROUNDS = 8, 150
NAMES = [f"arm-{n}" for n in range(50)]


def in_threads(read: Callable[[], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(read) for _ in range(THREADS * ROUNDS)]:
            done.result()


@pytest.mark.parametrize("name", ["linucb", "hybrid_linucb"])
def test_threads_always_see_every_arm(redis: Redis, name: str) -> None:
    """Each call reads the arms again, while others do."""
    redis.hset(redis_keys.bandit(name, LEARNT), mapping=dict.fromkeys(NAMES, learned([0.5, 0.0], 9)))
    posteriors = Posteriors(redis, Chooser(policy(name, d=2)), name, LEARNT, 2, 0.0)

    def read() -> None:
        _, found = posteriors.of(NAMES)
        assert found.keys() == set(NAMES)

    in_threads(read)


def test_the_arms_that_are_kept_are_bounded(redis: Redis) -> None:
    redis.hset(redis_keys.bandit("linucb", LEARNT), mapping=dict.fromkeys(NAMES, learned([0.5, 0.0], 9)))
    posteriors = Posteriors(redis, Chooser(policy("linucb")), "linucb", LEARNT, 2, 60.0, kept=3)

    def reads() -> int:
        return int(redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"])  # type: ignore[union-attr]

    assert posteriors.of(NAMES)[1].keys() == set(NAMES)  # more than are kept
    before = reads()
    posteriors.of(NAMES[-3:])
    assert reads() == before
    posteriors.of(["unknown"])  # an arm without a posterior takes a place, too
    posteriors.of(NAMES[-2:])
    assert reads() == before + 1
    posteriors.of(NAMES[-3:])
    assert reads() == before + 2


def test_each_thread_has_chances_of_its_own() -> None:
    dice, together = Dice(), Barrier(THREADS)

    def drawn() -> tuple[int, float]:
        together.wait()
        return id(dice.rng()), dice.rng().random()

    with ThreadPoolExecutor(THREADS) as pool:
        found = [drawn.result() for drawn in [pool.submit(drawn) for _ in range(THREADS)]]
    assert len(set(found)) == THREADS
    assert dice.rng() is dice.rng()


def test_a_forked_process_has_chances_of_its_own() -> None:
    dice = Dice()
    dice.rng().random()
    own = pickle.dumps(dice.rng().bit_generator.state)
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, str(dice.rng().random()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    same = np.random.default_rng()
    same.bit_generator.state = pickle.loads(own)
    assert float(os.read(read, 100)) != same.random()
