"""What the jobs hide from a user: whatever the batches, the repeats and the order of replays."""

import random
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from redis import Redis

from headrace.infra.clients.redis_writer import RedisWriter
from headrace.infra.settings import load
from headrace.infra.versions import followed_rules
from headrace.jobs.streaming.collaborative import Recommend
from headrace.jobs.streaming.session_features import ProjectSessions
from headrace.schemas import redis_keys
from headrace.udfs import resp, session
from tests.edge.conftest import redis, redis_port  # noqa: F401  # fixtures
from tests.jobs.streaming.functions import opened
from tests.udfs.test_session import counters, counts, recent

NOW_MS = 4_000_000_000_000  # beyond this machine's clock, so that nothing expires while the test runs
Event = tuple[str, str, int]  # item, action, t


@pytest.fixture(autouse=True)
def _here(own_home: None, redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("HEADRACE_REDIS__PORT", str(redis_port))


def hidden(redis: Redis, user: str) -> dict[str, int]:  # noqa: F811
    found: Any = redis.zrange(redis_keys.hidden(user), 0, -1, withscores=True)
    return {item.decode(): int(score) for item, score in found}


def rows(user: str, events: Sequence[Event]) -> Iterable[tuple[str, bytes, str | None, bytes]]:
    """Yields a row for each event, with the ten events up to it, as the JVM does."""
    packed = counters(counts=counts(view=1))
    return ((user, packed, None, recent(*events[max(0, n - 9) : n + 1])) for n in range(len(events)))


def batch(each: Iterable[tuple[str, bytes, str | None, bytes]]) -> list[pd.Series]:
    return [pd.Series(list(column), dtype=object) for column in zip(*each, strict=True)]


def test_no_event_of_a_batch_is_missed(redis: Redis) -> None:  # noqa: F811
    """Of a user's 35 rows only the newest becomes features; each of the 35 events hides its item."""
    many = [(f"i{n}", ("block", "dislike")[n % 2], NOW_MS + n) for n in range(35)]
    mixed = list(rows("ann", many)) + list(rows("bob", [("lamp", "purchase", NOW_MS), ("rug", "view", NOW_MS)]))
    random.Random(1).shuffle(order := [0] * 35 + [1] * 2)
    of_user = [iter(mixed[:35]), iter(mixed[35:])]
    with opened(ProjectSessions(load().redis, load().session)) as function:
        function.eval(*batch(next(of_user[user]) for user in order))
        assert hidden(redis, "ann") == {item: t + redis_keys.FOREVER_MS for item, _, t in many}
        assert hidden(redis, "bob") == {"lamp": NOW_MS + load().session.bought_hidden_ms}
        assert redis.pexpiretime(redis_keys.hidden("bob")) == NOW_MS + load().session.bought_hidden_ms
        function.eval(*batch(rows("cid", [("rug", "view", NOW_MS)])))
        assert redis.exists(redis_keys.hidden("cid")) == 0


def test_the_live_lists_job_hides_the_same_also_without_a_version(redis: Redis) -> None:  # noqa: F811
    """Its histories are longer, and name an item by its rating."""
    settings = load()
    many = [(f"4.5:i{n}:x", ("block", "rate", "purchase")[n % 3], NOW_MS + n) for n in range(120)]
    packed = [recent(*many[max(0, n - 49) : n + 1]) for n in range(120)]
    users, append_ts = pd.Series(["ann"] * 120), pd.Series(pd.to_datetime([NOW_MS] * 120, unit="ms"))
    follower = followed_rules.of(settings.night.rules)
    with opened(Recommend(settings.redis, 20, settings.session, follower)) as function:
        function.eval(users, pd.Series(packed), append_ts)
    after = {"block": redis_keys.FOREVER_MS, "purchase": settings.session.bought_hidden_ms}
    assert hidden(redis, "ann") == {
        item.removeprefix("4.5:"): t + after[action] for item, action, t in many if action in after
    }


def test_any_order_and_repeats_end_in_the_same_members(redis: Redis) -> None:  # noqa: F811
    """A replay sends older rows again, after newer ones; the most that are kept are those with the latest times."""
    rng, writer, most = random.Random(2), RedisWriter(load().redis), 20
    sent = [(f"i{rng.randrange(40)}", NOW_MS + rng.randrange(1000)) for _ in range(200)]
    latest: dict[str, int] = {}
    for item, ms in sent:
        latest[item] = max(ms, latest.get(item, 0))
    kept = sorted(latest, key=lambda item: (latest[item], item))[-most:]
    for key in "abc":
        again = sent + rng.sample(sent, 50)
        rng.shuffle(again)
        chunks = [dict(sorted(again[at : at + 3], key=itemgetter(1))) for at in range(0, len(again), 3)]
        writer.write(resp.scored([redis_keys.hidden(key)] * len(chunks), chunks, most), resp.SCORED)
        assert hidden(redis, key) == {item: latest[item] for item in kept}
        assert redis.pexpiretime(redis_keys.hidden(key)) == max(latest.values())


def test_what_is_over_goes_and_what_is_for_ever_stays(redis: Redis) -> None:  # noqa: F811
    settings = load()
    bought, blocked = ("lamp", "purchase", 1_700_000_000_000), ("rug", "block", 1_700_000_000_000)
    with opened(ProjectSessions(settings.redis, settings.session)) as function:
        function.eval(*batch(rows("ann", [bought])))
        assert redis.exists(redis_keys.hidden("ann")) == 0
        function.eval(*batch(rows("ann", [bought, blocked])))
        until = hidden(redis, "ann")
        assert until["rug"] == 1_700_000_000_000 + redis_keys.FOREVER_MS
        now: Any = redis.zrangebyscore(redis_keys.hidden("ann"), 1_800_000_000_000, "+inf")
        assert now == [b"rug"]
    assert np.isin(["dislike", "block", "purchase"], session.ACTIONS).all()
