"""The co-visitation job on a real stack: every list equals a recount, through refunds, late events, a kill, poison."""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.infra import paths
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.oracles.covisitation import Covisitation
from tests.stack.compare import unequal
from tests.stack.crashes import Kill, drive
from tests.stack.running import Stack, wait
from tests.streams.clicks import (
    DAY_MS,
    Click,
    Stream,
    by_moment,
    enriched,
    in_order,
    named,
    online_retail,
    resent,
    shuffled,
)
from tests.streams.dirty import ACTIONS, soiled

pytestmark = pytest.mark.stack
JOB = "covisitation"
TRIES = 3
EVERYTHING = 10**6
Lists = dict[str, tuple[dict[str, Any], int]]  # key -> the list, and when it expires


@pytest.fixture
def running(stack: Stack) -> Stack:
    return replace(stack, job_name=JOB)


@pytest.fixture(scope="module")
def stream() -> Stream:
    """Returns every action in random order; purchases and refunds of them, re-sent; some from days before."""
    first, later = online_retail("2011-11", 6_000), online_retail("2011-11", 14_000)[-4_000:]
    return by_moment(
        in_order(named("in-order", first[:2_000]))
        + shuffled(named("mixed", enriched(first + later, list(ACTIONS), seed=1)), seed=2)
        + resent(named("resent", given_back(first[:3_000] + later[:1_000], seed=3)), seed=4)
        + late(named("late", enriched(later, ["view", "purchase", "refund"], seed=5)), seed=6)
    )


def given_back(clicks: list[Click], seed: int) -> list[Click]:
    """Adds refunds of a third of the purchases, up to three days after them or an hour before."""
    rng = random.Random(seed)
    back = [
        click | {"event_id": f"{click['event_id']}-back", "action": "refund"}
        | {"ts_ms": click["ts_ms"] + rng.randrange(-DAY_MS // 24, 3 * DAY_MS)}
        for click in clicks if rng.random() < 1 / 3
    ]  # fmt: skip
    return sorted(clicks + back, key=lambda click: int(click["ts_ms"]))


def late(clicks: list[Click], seed: int) -> Stream:
    """Makes some of the events days late, a few so late that they no longer count."""
    rng = random.Random(seed)
    days = (0, 0, 0, 0, 1, 3, 120)
    return [(click["ts_ms"], click | {"ts_ms": click["ts_ms"] - rng.choice(days) * DAY_MS}) for click in clicks]


def recount(stack: Stack, without: str = "nobody") -> Covisitation:
    session, top_n = stack.settings.session, stack.settings.collaborative.top_n
    rules = SimpleNamespace(**stack.settings.covisitation.model_dump(), top_n=top_n)
    found = Covisitation(rules, session.history, session.future_ms)
    for record in topic.read(stack.settings.kafka, CLICKS):
        if not (record.key or b"").startswith(without.encode()):
            found.feed(record)
    return found


def in_redis(stack: Stack) -> Lists:
    client = stack.settings.redis.client(decode_responses=True)
    begins = redis_keys.together()
    keys = sorted(key for key in client.scan_iter(count=2_000) if key.startswith(begins))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.get(key)
        pipeline.pexpiretime(key)
    answers = pipeline.execute()
    return {
        key: (json.loads(value), expires_ms)
        for key, value, expires_ms in zip(keys, answers[::2], answers[1::2], strict=True)
    }


def assert_equal(stack: Stack) -> Covisitation:
    oracle = recount(stack)
    different = unequal("Redis", oracle.redis(), in_redis(stack))
    assert not different, "\n".join(different)
    return oracle


def test_every_list_equals_a_recount(running: Stack, stream: Stream) -> None:
    running.submit("--parallelism", "2", "--state-backend", "rocksdb")
    running.send(soiled(stream))
    running.settle()
    oracle = assert_equal(running)
    assert min(oracle.paths[path] for path in ("counted", "late", "repeat", "again", "too old", "refused")) > 20
    assert len(oracle.lists("viewed", 1)) > 500
    assert len(oracle.lists("bought", 1)) > 500
    assert running.restarts() == 0


def test_items_that_are_blocked_leave_every_list_and_come_into_none(
    running: Stack, stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some before the job begins, some in mid-stream. A list that nothing changed since then only lost its items."""
    rules = tmp_path / "rules.toml"
    monkeypatch.setenv("HEADRACE_NIGHT__RULES", str(rules))
    records, best = list(soiled(stream[:6_000])), most_viewed(stream[:3_000], 6)
    before, later = set(best[::2]), set(best)
    block(rules, before)
    running.submit()
    running.send(records[: len(records) // 2])
    running.settle()
    early = in_redis(running)
    assert not unequal("Redis", recount(running).redis(before), early)
    assert sum(bool(listed(each) & later) for each in early.values()) > 20
    block(rules, later | {"in no list"})
    wait(lambda: not any(listed(each) & later for each in in_redis(running).values()), 30, lambda: "still listed")
    running.send(records[len(records) // 2 :])
    running.settle()
    found, oracle = in_redis(running), recount(running)
    expected, shortened = oracle.redis(later), {key: less(each, later) for key, each in oracle.redis(before).items()}
    assert [
        key for key in found.keys() | expected.keys() if found.get(key) not in (expected.get(key), shortened.get(key))
    ] == []
    trending = redis_keys.trending()
    assert found[trending] == expected[trending]
    assert running.restarts() == 0


def most_viewed(stream: Stream, n: int) -> list[str]:
    return [item for item, _ in Counter(str(click["item_id"]) for _, click in stream).most_common(n)]


def block(rules: Path, items: set[str]) -> None:
    text = (paths.CONFIG / "rules.toml").read_text()
    rules.write_text(text.replace("items = []", f"items = {json.dumps(sorted(items))}"))


def listed(value: tuple[dict[str, Any], int]) -> set[str]:
    return {entry["item"] for entry in value[0]["items"]}


def less(value: tuple[dict[str, Any], int], items: set[str]) -> tuple[dict[str, Any], int] | None:
    kept = [entry for entry in value[0]["items"] if entry["item"] not in items]
    return (value[0] | {"items": kept}, value[1]) if kept else None


@pytest.mark.soak
def test_a_killed_taskmanager_changes_no_list(running: Stack, stream: Stream) -> None:
    for _ in range(TRIES):
        running.reset()
        running.submit("--parallelism", "1", "--state-backend", "hashmap")
        bites = drive(running, list(soiled(stream)), [Kill("taskmanager", 0.45)], seed=1)
        running.settle()
        assert_equal(running)
        print(*bites)
        if all(bite.counts() for bite in bites):
            return
    pytest.fail(f"after {TRIES} tries the kill still did not bite: {bites}")


@pytest.mark.soak
def test_a_poisoned_client_moves_little_and_redis_is_restored(running: Stack, stream: Stream) -> None:
    """docs/collaborative.md, "What a single user can move": 10,000 clicks on one item, another's on many, in a day."""
    calm = stream[:4_000]
    at_ms, target = bestseller(calm)
    one = [poison("poison/one", n, at_ms, target) for n in range(10_000)]
    many = [poison("poison/many", n, at_ms, target if n % 20 == 0 else f"x{n % 500}") for n in range(10_000)]
    running.submit()
    running.send(soiled(by_moment(calm + in_order(one) + in_order(many))))
    running.settle()
    assert_bounded(running, recount(running, without="poison"), assert_equal(running), target)
    before = in_redis(running)
    running.settings.redis.client().flushall()
    running.run("restore", JOB)
    assert unequal("Redis", before, in_redis(running)) == []
    running.send(soiled(stream[4_000:5_000]))
    running.settle()
    assert_equal(running)


def assert_bounded(stack: Stack, clean: Covisitation, poisoned: Covisitation, target: str) -> None:
    cap, shrink = stack.settings.covisitation.cap, stack.settings.covisitation.shrink
    before, after = dict(clean.trending(EVERYTHING)), dict(poisoned.trending(EVERYTHING))
    moved = {item: after[item] - before.get(item, 0.0) for item in after if after[item] != before.get(item)}
    assert len(moved) == cap
    assert moved == {item: pytest.approx(2.0 if item == target else 1.0) for item in moved}
    was, now = clean.lists("viewed", EVERYTHING), poisoned.lists("viewed", EVERYTHING)
    assert sum(map(len, now.values())) - sum(map(len, was.values())) <= cap * (cap - 1)
    for item, entries in was.items():
        scores = dict(now[item])
        assert len(scores) - len(entries) <= cap - 1
        for other, score in entries:  # two users' clicks, on one of the two at most
            assert 0.8 * score <= scores[other] <= score + 1 / (1 + shrink)


def bestseller(stream: Stream) -> tuple[int, str]:
    """Returns the last view of the stream, and the most viewed item of that day."""
    views = [click for _, click in stream if click["action"] in ("view", "click")]
    at_ms = max(int(click["ts_ms"]) for click in views)
    items = [str(click["item_id"]) for click in views if click["ts_ms"] // DAY_MS == at_ms // DAY_MS]
    return at_ms, max(sorted(set(items)), key=items.count)


def poison(user: str, n: int, at_ms: int, item: str) -> Click:
    return {"event_id": f"{user}-{n}", "user_id": user, "item_id": item, "action": "click", "ts_ms": at_ms - n}
