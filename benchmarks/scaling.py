"""Records per second on 1, 2 and 4 slots of one TaskManager, where one key has much of the work, against one slot.

session_features: one user has 30 % of the clicks, which must stay in order, so no slot can help with those. bandit: one
arm has half of the impressions; its sums are taken in parts, so all slots work on them. The topic has two partitions,
hence at most two sources read. Kafka and Redis work on the same cores: more slots than cores cannot help.
"""

import time
from collections.abc import Iterator
from statistics import median

import msgspec
import numpy as np

from benchmarks import bandit, session_features, stack
from benchmarks.harness import Result, console, show_round, table
from headrace.edge.spool_line import Message
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys, topics
from headrace.udfs.bandit import sums_version
from headrace.udfs.bandit.context import SHOPPER

SLOTS = (1, 2, 4)
CLICKS, USERS = 1_000_000, 100_000
HOT_USER, HOT_ARM = 0.3, 0.5  # shares
ARMS = 1_000
STEADY_FROM = 0.4


def main(rounds: int) -> Result:
    settings = stack.up()
    rates: dict[str, list[int]] = {f"{job}, {slots}": [] for job in ("session_features", "bandit") for slots in SLOTS}
    for number in range(1, rounds + 1):
        for slots in SLOTS:
            rates[f"session_features, {slots}"].append(round(clicks_per_s(settings, slots, number)))
            rates[f"bandit, {slots}"].append(round(impressions_per_s(settings, slots, number)))
        show_round(number, rounds, rates, "records/s")
    medians = {case: median(each) for case, each in rates.items()}
    table("slots", ("job, slots", "records/s", "each round"), [(n, each, rates[n]) for n, each in medians.items()])
    ratios = {
        job: {slots: round(medians[f"{job}, {slots}"] / medians[f"{job}, 1"], 2) for slots in SLOTS}
        for job in ("session_features", "bandit")
    }
    conditions = {"share of one user": HOT_USER, "share of one arm": HOT_ARM, "ratios": ratios, "each round": rates}
    least = min(each[SLOTS[-1]] for each in ratios.values())
    return Result("scaling", medians, {}, least, "one slot, the worse of two jobs on 4", "records/s", conditions)


def clicks_per_s(settings: Settings, slots: int, seed: int) -> float:
    """Of session_features on heap, in the steady state."""
    stack.empty(settings)
    stack.send(settings, list(clicks(seed)))

    def progress() -> float:
        return stack.metric(settings, session_features.PASSED) / CLICKS

    with stack.job(settings, "heap", slots), console.status(f"session_features on {slots} slots"):
        stack.wait(lambda: progress() >= STEADY_FROM, "the steady state")
        begin_s, begin = time.monotonic(), progress()
        stack.wait(lambda: progress() >= 1, "all clicks")
        return CLICKS * (1 - begin) / (time.monotonic() - begin_s)


def clicks(seed: int) -> Iterator[Message]:
    rng, now_ms = np.random.default_rng(seed), time.time_ns() // 1_000_000 - 60_000
    users = np.where(rng.random(CLICKS) < HOT_USER, USERS, rng.integers(USERS, size=CLICKS))
    items = rng.integers(10_000, size=CLICKS)
    for n in range(CLICKS):
        user = f"user-{users[n]}"
        click = {"event_id": f"{n}", "user_id": user, "item_id": f"item-{items[n]}", "action": "view", "ts_ms": now_ms}
        yield Message(topics.CLICKS, user.encode(), msgspec.json.encode(click))


def impressions_per_s(settings: Settings, slots: int, seed: int) -> float:
    """Of the bandit on RocksDB, in the steady state."""
    shares = np.concatenate([[HOT_ARM], bandit.zipf(ARMS) * (1 - HOT_ARM)])
    messages = list(bandit.stream(shares, seed, SHOPPER))
    key = redis_keys.bandit(bandit.POLICY, sums_version.of_encoder(SHOPPER))
    return bandit.measure(settings, messages, key, slots)
