"""The main job on a real stack: each record takes one path, and Redis, `sessions`, `dead_letters` equal the oracle."""

import re
import time
from collections import Counter
from typing import Any

import pytest

from headrace.infra.settings import load
from tests.oracles.sessions import Oracle
from tests.stack.compare import differences, oracle_of, session_of
from tests.stack.running import Stack
from tests.streams.boundaries import everything, large_spans
from tests.streams.clicks import DAY_MS, MINUTE_MS, Click, Stream, records, sweepers
from tests.streams.dirty import planted
from tests.streams.scattered import KEYS, ORDERLESS, scattered

pytestmark = pytest.mark.stack
HOUR_MS = 60 * MINUTE_MS
EARLIEST_MS = 100_000_000_000
AROUND = [f"around-{n}" for n in range(20)]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return everything()


def assert_equal(stack: Stack, oracle: Oracle) -> None:
    assert oracle.at_risk == 0
    different = differences(stack.settings, oracle)
    assert not different, "\n".join(different)


def counters(stack: Stack) -> dict[str, int]:
    """Returns the job's own metrics, summed over subtasks."""
    found: Counter[str] = Counter()
    for name, value in re.findall(r"_operator_headrace_(\w+)\{.*\} (\S+)", stack.metrics()):
        found[name] += int(float(value))
    return found


@pytest.mark.parametrize(
    ("parallelism", "backend"),
    [
        (2, "rocksdb"),
        pytest.param(1, "hashmap", marks=pytest.mark.soak),
        pytest.param(1, "rocksdb", marks=pytest.mark.soak),
        pytest.param(2, "hashmap", marks=pytest.mark.soak),
    ],
)
def test_all_streams_at_once_equal_the_oracle(stack: Stack, stream: Stream, parallelism: int, backend: str) -> None:
    stack.submit("--parallelism", f"{parallelism}", "--state-backend", backend)
    stack.send(records([*large_spans(stream[0][0]), *stream]))
    stack.send(sweepers(stream[-1][0] + DAY_MS, stack.settings.kafka.partitions))
    stack.settle()
    oracle = oracle_of(stack.settings)
    assert sum(oracle.counts.values()) > 100_000
    assert_equal(stack, oracle)
    assert stack.restarts() == 0


def test_each_of_20000_dirty_records_takes_exactly_one_path(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SESSION__BOUNDARY", "client")  # half of the late events are so by their session_id
    stack = Stack(stack.home, load())
    now_ms = int(time.time() * 1000)
    mix = planted(now_ms - 2 * HOUR_MS)
    sweep = sweepers(now_ms + 2 * MINUTE_MS, stack.settings.kafka.partitions)  # ahead: their t is their append time
    stack.submit()
    stack.send([each.record for each in mix])
    stack.send(sweep)
    stack.settle()
    oracle = oracle_of(stack.settings)
    assert oracle.counts == Counter(each.path for each in mix) + Counter(applied=len(sweep))
    assert_equal(stack, oracle)
    assert stack.restarts() == 0
    assert counters(stack) == {
        "applied": oracle.counts["applied"],
        "late": oracle.counts["late"],
        "repeats": oracle.counts["repeat"],
        "too_late": oracle.counts["dead late"],
        "internal": 0,
        "other_key": 0,
        "other_partition": 0,
    }
    assert_orderless(stack, now_ms - 2 * HOUR_MS)
    counted = counters(stack)
    assert counted["other_key"] == len(scattered(0))
    assert counted["other_partition"] > 0


def assert_orderless(stack: Stack, first_ms: int) -> None:
    """Checks that a producer's partitions do not change what docs/semantics.md says that they do not.

    An event of the first moment that is no time in seconds comes with them.
    """
    stack.send([*scattered(first_ms), *records([(0, seen("in 1973", "e", EARLIEST_MS))])])
    stack.settle()
    client: Any = stack.settings.redis.client(decode_responses=True)
    assert session_of(client, "in 1973")["ended_ms"] == f"{EARLIEST_MS}"
    for user in KEYS:
        found = session_of(client, f"scattered/{user}")
        assert (user, {name: found.get(name) for name in ORDERLESS}) == (user, ORDERLESS)


@pytest.mark.parametrize("backend", ["hashmap", pytest.param("rocksdb", marks=pytest.mark.soak)])
def test_a_silent_user_is_forgotten_and_nobody_else(
    stack: Stack, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same event_id again is the first event of somebody forgotten; those around keep all of theirs."""
    monkeypatch.setenv("HEADRACE_SESSION__FORGET_MS", f"{30 * HOUR_MS}")
    now_ms = int(time.time() * 1000)
    stack.submit("--state-backend", backend)
    for day in range(3):
        t_ms = now_ms - (3 - day) * DAY_MS
        silent = [] if day == 1 else [seen("silent", "always the same", t_ms)]
        stack.send(records((t_ms, click) for click in [*silent, *(seen(user, f"e{day}", t_ms) for user in AROUND)]))
        stack.send(sweepers(t_ms + 12 * HOUR_MS, stack.settings.kafka.partitions))
        stack.settle()
    client: Any = stack.settings.redis.client(decode_responses=True)
    sessions = {user: session_of(client, user) for user in ["silent", *AROUND]}
    found = {user: (session.get("repeats"), session.get("recent_items")) for user, session in sessions.items()}
    assert found == {"silent": ("0", '["lamp"]')} | dict.fromkeys(AROUND, ("0", '["lamp","lamp","lamp"]'))


def seen(user: str, event_id: str, t_ms: int) -> Click:
    return {"event_id": event_id, "user_id": user, "item_id": "lamp", "action": "view", "ts_ms": t_ms}
