"""The bandit on a real stack: rewards, sums and posteriors equal plain loops, through retractions, kills, a restore."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from headrace.edge.recommendations import Recommendations, policy
from headrace.infra import paths
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import load
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, IMPRESSIONS
from headrace.udfs.bandit.context import SHOPPER, Encoder
from headrace.udfs.bandit.slate import Chooser
from tests import topic
from tests.edge import redis_lists
from tests.oracles import bandit
from tests.oracles.bandit import Oracle
from tests.stack.crashes import CHUNK, WORKER, Bite, Kill, Sender, bite, schedule
from tests.stack.learning import (
    JOB,
    Learning,
    assert_equal,
    counters,
    oracle_of,
    posterior_of,
    posteriors,
    statistics,
    version,
)  # fmt: skip
from tests.stack.running import Stack, wait
from tests.streams.bandit import ITEMS, SLATE, Sent, Shopper, ahead, sent
from tests.streams.encoders import NARROW

pytestmark = pytest.mark.stack
FIRST_MS = 1_763_900_000_000
TRIES = 3
AT_ONCE_S = 30.0  # below the delay within which feedback counts, and below the wait for a silent topic


@pytest.fixture
def learning(stack: Stack) -> Learning:
    return Learning(stack.home, stack.settings)


@pytest.fixture(scope="module")
def stream() -> list[Sent]:
    return shopper(seed=1).slates(1_200, FIRST_MS)


def shopper(seed: int) -> Shopper:
    return Shopper(seed, SHOPPER.version, SHOPPER.d)


@pytest.mark.parametrize(
    ("parallelism", "backend", "half_life_ms"),
    [
        pytest.param(2, "rocksdb", 120_000, marks=pytest.mark.soak),  # and this in the kills, of half the seeds
        pytest.param(1, "hashmap", 0, marks=pytest.mark.soak),  # CI has it in test_it_learns_at_once_and_is_restored
        pytest.param(2, "rocksdb", 0, marks=pytest.mark.soak),
    ],
)
def test_everything_equals_plain_loops(
    learning: Learning,
    stream: list[Sent],
    parallelism: int,
    backend: str,
    half_life_ms: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADRACE_BANDIT__HALF_LIFE_MS", f"{half_life_ms}")
    learning = Learning(learning.home, load())
    learning.submit("--parallelism", f"{parallelism}", "--state-backend", backend)
    strange = ahead(shopper(seed=9), time.time_ns() // 1_000_000)
    early = [each for n, each in enumerate(stream) if each.topic == CLICKS and n % 3 == 0]
    learning.send_all(early)  # before any impression; it comes once more in its place
    for part in range(0, len(stream), 6_000):
        learning.send_all(stream[part : part + 6_000])
    for each in strange:
        learning.send_all([each])
    learning.settle()
    oracle = assert_equal(learning)
    shown = sum(each.topic == IMPRESSIONS for each in (*stream, *strange))
    assert shown == len(oracle.shown) + oracle.duplicates + len(oracle.dead)
    assert counters(learning) == {
        "entered": len(oracle.shown), "refused_impressions": len(oracle.dead), "refused_clicks": oracle.refused_clicks,
        "feedback_out_of_time": sum(len(oracle.acted.get(key, ())) - len(oracle.feedback(key)) for key in oracle.shown),
    }  # fmt: skip
    assert learning.restarts() == 0
    assert_covers(oracle)


def assert_covers(oracle: Oracle) -> None:
    """Checks that the stream has each case that the rules are about."""
    assert {reason for _, said, _ in oracle.dead.values() for reason in said.split("|")} == {
        "json", "type", "missing", "value", "future", "encoder", "size",
    }  # fmt: skip
    assert oracle.duplicates > 300
    acted = {key: {event.action for event in oracle.feedback(key)} for key in oracle.shown}
    assert sum({"purchase", "refund"} <= actions for actions in acted.values()) > 100
    assert sum({"cart", "uncart"} <= actions and "purchase" not in actions for actions in acted.values()) > 50
    assert sum({"cart", "uncart", "purchase"} <= actions for actions in acted.values()) > 50
    assert sum({"like", "dislike"} <= actions for actions in acted.values()) > 100
    by_broker = [key for key in oracle.shown for event in oracle.feedback(key) if event.t < oracle.shown[key].t]
    assert len(by_broker) > 30  # a clock that is slow
    rewards = Counter(oracle.reward(key) for key in oracle.shown)
    assert len(rewards) > 15
    assert min(rewards) < 0 < max(rewards)


def test_it_learns_at_once_and_is_restored(learning: Learning, stream: list[Sent]) -> None:
    """With no click at all; then from one click, long before its impression's delay has passed."""
    learning.submit()
    someone, now_ms = shopper(seed=2), time.time_ns() // 1_000_000
    shown = someone.impression("s", "u", "i1", now_ms - 1_000) | {"policy": "linucb"}
    assert visible(learning, [sent(0, IMPRESSIONS, shown)], lambda arm: arm.n == 1) < AT_ONCE_S
    click = someone.click(shown, "like", now_ms)
    assert visible(learning, [sent(0, CLICKS, click)], lambda arm: any(arm.theta)) < AT_ONCE_S
    learning.send_all(stream[:3_000])
    learning.settle()
    assert_equal(learning)
    learning.settings.redis.client().flushall()
    learning.run("restore", JOB)
    assert_equal(learning)
    learning.send_all(stream[3_000:5_000])  # the job goes on from where it was
    learning.settle()
    assert_equal(learning)


def visible(learning: Learning, stream: list[Sent], condition: Any) -> float:
    """Returns the seconds from sending until arm i1 of linucb fulfils the condition."""
    client = learning.settings.redis.client()
    began_s = time.monotonic()
    learning.send_all(stream)

    def holds() -> bool:
        packed: Any = client.hget(redis_keys.bandit("linucb", version(learning.settings)), "i1")
        return packed is not None and condition(bandit.unpack(packed))

    wait(holds, 60, lambda: "nothing was learnt")
    return time.monotonic() - began_s


def test_a_start_without_state_goes_on_from_what_was_learnt(learning: Learning) -> None:
    """Nothing that was learnt is lost, counts twice or stays out of Redis; slates of before are over."""
    learning.submit()
    learning.send_all(shopper(seed=4).slates(300, FIRST_MS))
    learning.settle()
    before = posteriors(learning.settings)
    wait(lambda: committed(learning) == sent_so_far(learning), 60, lambda: "the offsets are not committed")
    learning.run("stop", JOB)
    learning.settings.redis.client().flushall()
    learning.submit("--from-scratch", "--yes")
    wait(lambda: posteriors(learning.settings) == before, 60, lambda: "the arms are not in Redis again")
    later = [
        Sent(each.moment_ms, each.topic, each.record._replace(value=renamed(each.record.value)))
        for each in shopper(seed=5).slates(300, FIRST_MS + 1_000_000)
    ]
    learning.send_all(later)
    learning.settle()
    assert_equal(learning)


def committed(learning: Learning) -> int:
    found = kafka_topics.committed(learning.settings.kafka, JOB)
    return sum(offset for part, offset in found.items() if part.topic in (IMPRESSIONS, CLICKS))


def sent_so_far(learning: Learning) -> int:
    return sum(sum(topic.ends(learning.settings.kafka, name).values()) for name in (IMPRESSIONS, CLICKS))


def renamed(value: bytes | None) -> bytes | None:
    return value and value.replace(b'"slate-', b'"later-').replace(b'"bad-', b'"later-bad-')


def test_another_rule_is_learnt_beside_the_old_one(learning: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    """From all that the log still has. Who reads the old arms finds them as they were."""
    learning.submit()
    learning.send_all(shopper(seed=6).slates(300, FIRST_MS))
    learning.settle()
    old = posteriors(learning.settings), statistics(learning.settings)
    learning.run("stop", JOB)
    monkeypatch.setenv("HEADRACE_BANDIT__FAST_MS", "5000")
    changed = Learning(learning.home, load())
    changed.submit("--from-scratch", "--yes")
    changed.settle()
    expected = oracle_of(changed.settings).statistics()
    assert {key: arm.packed() for key, arm in expected.items()} == {
        key: arm["packed"] for key, arm in statistics(changed.settings).items()
    }
    found = posteriors(changed.settings)
    assert {key: posterior_of(arm.packed(), changed.settings) for key, arm in expected.items()} == found
    assert found != old[0]
    assert (posteriors(learning.settings), statistics(learning.settings)) == old


def test_readers_never_mix_two_encoders(learning: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder changes while services of both show and read: no read fails, and each has arms of its own width."""
    client, over, reads = learning.settings.redis.client(), threading.Event(), Counter[int]()
    redis_lists.publish(client, items={f"i{n}": float(n) for n in range(ITEMS)})
    before, after = (Shopper(7, each.version, each.d).slates(400, FIRST_MS) for each in (SHOPPER, NARROW))
    meanwhile = sorted([*before[len(before) // 2 :], *after], key=lambda each: each.moment_ms)

    def read(encoder: Encoder) -> None:
        service = Recommendations(client, None, Chooser(policy("linucb")), encoder=encoder, strict=True)
        while not over.is_set():
            assert len(service.for_user("ann", SLATE).items) == SLATE
            reads[encoder.d] += 1

    def show() -> None:
        for part in range(0, len(meanwhile), 500):
            learning.send_all(meanwhile[part : part + 500])

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, encoder) for encoder in (SHOPPER, NARROW)]
        try:
            learning.submit()
            learning.send_all(before[: len(before) // 2])
            learning.settle()
            services = pool.submit(show)
            learning.run("stop", JOB)
            monkeypatch.setenv("HEADRACE_BANDIT__ENCODER", "tests.streams.encoders:NARROW")
            monkeypatch.setenv("PYTHONPATH", str(paths.PACKAGE))
            changed = Learning(learning.home, load())
            changed.submit()
            services.result()
            changed.settle()
        finally:
            over.set()
        for reader in readers:
            reader.result()
    assert min(reads[SHOPPER.d], reads[NARROW.d]) > 100
    for encoder, settings in ((SHOPPER, learning.settings), (NARROW, changed.settings)):
        learnt: Any = client.hgetall(redis_keys.bandit("linucb", version(settings)))
        assert len(learnt) == ITEMS
        assert {len(bandit.unpack(packed).theta) for packed in learnt.values()} == {encoder.d}


class Both(Sender):
    """Sends clicks at its pace, with the impressions that come before them in the stream; for two threads."""

    def __init__(self, learning: Learning, stream: Sequence[Sent]) -> None:
        super().__init__(learning, [each.record for each in stream if each.topic == CLICKS])
        self.stream, self.place, self.turn = stream, 0, threading.Lock()

    def send(self, count: int) -> None:
        end = min(self.sent + count, len(self.records))
        while self.sent < end:
            with self.turn:
                self.show(min(self.sent + CHUNK, len(self.records)))
                super().send(1)

    def show(self, clicks: int) -> None:
        """Sends the impressions before this many clicks; all remaining ones with the last."""
        passed = self.sent
        while self.place < len(self.stream) and (passed < clicks or clicks == len(self.records)):
            each = self.stream[self.place]
            self.place += 1
            passed += each.topic == CLICKS
            if each.topic == IMPRESSIONS:
                self.futures.append(self.producer.send(IMPRESSIONS, key=each.record.key, value=each.record.value))


def drive(learning: Learning, stream: Sequence[Sent], kills: list[Kill], seed: int) -> list[Bite]:
    """Sends the stream with kills. Records flow on meanwhile, else a checkpoint could hold all that was sent."""
    rng, sender, bites = random.Random(seed), Both(learning, stream), []
    for kill in kills:
        sender.keep_step(kill.share)
        meanwhile = threading.Thread(target=sender.send, args=(3 * sender.twentieth,))
        meanwhile.start()
        bites.append(bite(learning, kill, sender, rng))
        meanwhile.join()
    sender.send(len(sender.records))
    sender.close()
    return bites


def test_kills_change_no_byte(learning: Learning, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Every other schedule with forgetting."""
    monkeypatch.setenv("HEADRACE_FLINK__CHECKPOINT_INTERVAL_S", "4")
    monkeypatch.setenv("HEADRACE_BANDIT__HALF_LIFE_MS", f"{seed % 2 * 120_000}")
    learning = Learning(learning.home, load())
    plan, stream = schedule(seed, ("taskmanager", WORKER)), shopper(seed=3).slates(2_500, FIRST_MS)
    for _ in range(TRIES):
        learning.reset()
        learning.submit("--parallelism", f"{plan.parallelism}", "--state-backend", plan.state_backend)
        bites = drive(learning, stream, plan.kills, seed)
        learning.settle()
        assert_equal(learning)
        print(plan, *bites, sep="\n  ")
        if all(bite.counts() for bite in bites):
            return
    pytest.fail(f"after {TRIES} tries some kill still did not bite: {bites}")
