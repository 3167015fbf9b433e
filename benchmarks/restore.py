"""Users per second that `headrace restore` gives back to an empty Redis, beside the running job, against redis-py.

A million users have a live session, on RocksDB and one slot: on heap, a TaskManager of 3.3 GB cannot hold them twice.
Then Redis loses everything, and clicks go on meanwhile. The time is the command's, with all it starts: a savepoint, a
run of its own, its end. Afterwards each user has the session as it was. The peer writes the same keys and values back,
from memory and by pipelines: the least that has to be done.
"""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

import msgspec

from benchmarks import clicks, stack
from benchmarks.harness import Result, console, medians, show_round, table
from headrace.edge.spool_line import Message
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys, topics

USERS = 1_000_000
TARGET_S = 300
PEER_USERS, PIPELINE = 100_000, 1_000
MEANWHILE_PER_S = 100.0


class Run(NamedTuple):
    took_s: float
    peer_s: float  # for as many users


def main(rounds: int) -> Result:
    settings = stack.up()
    rates: dict[str, list[int]] = {"headrace": [], "redis-py": []}
    for number in range(1, rounds + 1):
        run = measure(settings)
        rates["headrace"].append(round(USERS / run.took_s))
        rates["redis-py"].append(round(USERS / run.peer_s))
        show_round(number, rounds, rates, "users/s")
    figures = medians(rates, "users_per_s")
    table("restore", ("", "users/s", "each round"), [(name, *each.values()) for name, each in figures.items()])
    ratio = round(median(ours / theirs for ours, theirs in zip(*rates.values(), strict=True)), 3)
    ours = figures["headrace"] | {"seconds": round(USERS / figures["headrace"]["users_per_s"], 1)}
    conditions = {"users": USERS, "clicks/s meanwhile": MEANWHILE_PER_S, "target, s": TARGET_S, "store": "rocksdb"}
    against = "redis-py's pipelines, which only write"
    return Result("restore", ours, {"redis-py": figures["redis-py"]}, ratio, against, "users/s", conditions)


def users() -> Iterator[Message]:
    now_ms = time.time_ns() // 1_000_000
    for n in range(USERS):
        user, item = f"user-{n}", f"item-{n % 10_007}"
        click = {"event_id": user, "user_id": user, "item_id": item, "action": "view", "ts_ms": now_ms}
        yield Message(topics.CLICKS, user.encode(), msgspec.json.encode(click))


def measure(settings: Settings) -> Run:
    stack.empty(settings)
    client = stack.redis(settings)
    with stack.job(settings, "rocksdb", 1):
        stack.send(settings, list(users()))
        with console.status("the job at work"):
            stack.wait(lambda: client.dbsize() >= USERS, f"{USERS:,} users are in Redis", poll_s=1)
            time.sleep(2 * settings.flink.checkpoint_interval_s)
        before = dict(sessions(client))
        if missing := sum(value is None for value in before.values()):
            raise RuntimeError(f"{missing:,} of {USERS:,} users have no session")
        peer_s = written_back(client) * USERS / PEER_USERS
        client.flushall()
        load_s = 10 * TARGET_S
        clicks.path(round(load_s * MEANWHILE_PER_S))
        with console.status("restoring"), clicks.sending(round(load_s * MEANWHILE_PER_S), MEANWHILE_PER_S):
            begin_s = time.monotonic()
            stack.headrace("restore", stack.JOB)
            took_s = time.monotonic() - begin_s
        after = dict(sessions(client))
    wrong = [key for key, value in before.items() if after.get(key) != value]
    if wrong:
        raise RuntimeError(f"{len(wrong):,} of {len(before):,} users differ, such as {wrong[0]!r}")
    return Run(took_s, peer_s)


def sessions(client: Any) -> Iterator[tuple[bytes, int | None]]:
    """Yields the key of each of our users, and a hash of the value; None without one."""
    keys = [redis_keys.session(f"user-{n}").encode() for n in range(USERS)]
    for at in range(0, USERS, PIPELINE):
        some = keys[at : at + PIPELINE]
        yield from ((key, value and hash(value)) for key, value in zip(some, client.mget(some), strict=True))


def written_back(client: Any) -> float:
    """Seconds to write PEER_USERS sessions into an empty Redis."""
    keys = [redis_keys.session(f"user-{n}") for n in range(PEER_USERS)]
    values = [client.get(key) for key in keys]
    expire_at_ms = time.time_ns() // 1_000_000 + redis_keys.SESSION_TTL_MS
    client.flushall()
    begin_s = time.monotonic()
    for at in range(0, PEER_USERS, PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for key, value in zip(keys[at : at + PIPELINE], values[at : at + PIPELINE], strict=True):
            pipeline.set(key, value, pxat=expire_at_ms)
        pipeline.execute()
    return time.monotonic() - begin_s
