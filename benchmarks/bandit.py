"""Impressions per second from Kafka to the bandit's posteriors in Redis, against a Sherman-Morrison loop.

The loop runs in one process. It decodes the same records from memory and updates A^-1 with each impression and theta
with each feedback. It joins by a dictionary alone, keeps nothing durable, writes nowhere and forgets nothing. Both must
end with the same theta.
"""

import os
import time
from collections.abc import Iterator
from itertools import product
from statistics import median
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import stack
from benchmarks.harness import Result, console, show_round, table
from headrace.edge.spool_line import Message
from headrace.infra import paths
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys, topics
from headrace.udfs.bandit import sums_version
from headrace.udfs.bandit.arms import unpack_posterior
from headrace.udfs.bandit.context import SHOPPER, Encoder, Hashed

Floats = NDArray[np.float64]
JOB = "bandit"
WIDE = Encoder((*SHOPPER.columns, Hashed("user", "segment", buckets=16)))
ENCODERS = {
    f"d = {SHOPPER.d}": ("headrace.udfs.bandit.context:SHOPPER", SHOPPER),
    f"d = {WIDE.d}": ("benchmarks.bandit:WIDE", WIDE),
}
ARMS = (10, 1_000, 10_000)
IMPRESSIONS = 400_000
CLICKED = 0.2  # share of impressions
USERS = 5_000
POLICY = "linucb"
MARKS = 200  # arms of their own, spread evenly: how many stand in Redis says how far the job has come
STEADY_FROM = 0.4
RIDGE = 1.0
TARGET = 0.5


def main(rounds: int) -> Result:
    settings = stack.up()
    cases = {f"{arms:,} arms, {d}": (arms, encoder) for (d, encoder), arms in product(ENCODERS.items(), ARMS)}
    rates: dict[str, dict[str, list[Any]]] = {
        case: {"headrace": [], "loop": [], "furthest theta": [], "Kafka bytes": []} for case in cases
    }
    for number in range(1, rounds + 1):
        for case, (arms, (place, encoder)) in cases.items():
            # Flink's client must find the encoder.
            os.environ |= {"HEADRACE_BANDIT__ENCODER": place, "PYTHONPATH": str(paths.PACKAGE)}
            key = redis_keys.bandit(POLICY, sums_version.of_encoder(encoder))
            messages, figures = list(stream(zipf(arms), number, encoder)), rates[case]
            begin_s = time.perf_counter()
            expected = loop(messages)
            figures["loop"].append(round(IMPRESSIONS / (time.perf_counter() - begin_s)))
            figures["headrace"].append(round(measure(settings, messages, key)))
            figures["Kafka bytes"].append(round(written(settings) / IMPRESSIONS))
            figures["furthest theta"].append(furthest(settings, expected, key))
            show_round(number, rounds, figures, f"with {case}")
    medians = {case: {name: median(each) for name, each in figures.items()} for case, figures in rates.items()}
    ratios = {name: round(each["headrace"] / each["loop"], 3) for name, each in medians.items()}
    columns = ("", "headrace", "loop", "furthest theta", "Kafka bytes", "ratio")
    table("impressions/s", columns, [(n, *f.values(), ratios[n]) for n, f in medians.items()])
    conditions = {"impressions": IMPRESSIONS, "clicked": CLICKED, "slots": 1, "ratios": ratios, "target": TARGET}
    ours = {name: each["headrace"] for name, each in medians.items()}
    peers = {"numpy Sherman-Morrison loop": {name: each["loop"] for name, each in medians.items()}}
    against = "a numpy Sherman-Morrison loop in one process, the worst of the cases"
    return Result("bandit", ours, peers, min(ratios.values()), against, "impressions/s", conditions)


def zipf(arms: int) -> Floats:
    """The share of each arm by Zipf's law."""
    weights = 1 / np.arange(1, arms + 1)
    return np.asarray(weights / weights.sum())


def stream(shares: Floats, seed: int, encoder: Encoder) -> Iterator[Message]:
    """Impressions of arms by their shares and of random contexts; a fifth is clicked a second later, 100 on."""
    rng = np.random.default_rng(seed)
    contexts = rng.uniform(-1, 1, (IMPRESSIONS, encoder.d)).round(3).tolist()
    clicked = rng.random(IMPRESSIONS) < CLICKED
    chosen = rng.choice(len(shares), IMPRESSIONS, p=shares)
    users = rng.integers(USERS, size=IMPRESSIONS)
    now_ms, pending = time.time_ns() // 1_000_000 - 60_000, []
    for n in range(IMPRESSIONS):
        is_mark = n % (IMPRESSIONS // MARKS) == IMPRESSIONS // MARKS - 1
        item = f"~mark-{n * MARKS // IMPRESSIONS}" if is_mark else f"item-{chosen[n]}"
        user = {"user_id": f"user-{users[n]}", "impression_id": f"{seed}-{n}", "item_id": item, "ts_ms": now_ms}
        shown = {"surface": "home", "position": 0, "policy": POLICY, "model_version": "v", "context": contexts[n]}
        shown |= {"propensity": 0.5, "encoder_version": encoder.version}
        yield _message(topics.IMPRESSIONS, user | shown)
        if clicked[n]:
            pending.append(user | {"event_id": f"{seed}-{n}", "action": "click", "ts_ms": now_ms + 1_000})
        if n % 100 == 99:
            yield from (_message(topics.CLICKS, click) for click in pending)
            pending.clear()


def _message(topic: str, record: dict[str, Any]) -> Message:
    return Message(topic, record["user_id"].encode(), msgspec.json.encode(record))


def loop(messages: list[Message]) -> dict[str, Any]:
    """theta by arm. Sherman and Morrison 1950: (A + x x')^-1 = A^-1 - A^-1 x x' A^-1 / (1 + x' A^-1 x)."""
    A_inv: dict[str, Any] = {}
    b: dict[str, Any] = {}
    theta: dict[str, Any] = {}
    shown: dict[tuple[str, str], Any] = {}
    for message in messages:
        record = msgspec.json.decode(message.value)
        arm = record["item_id"]
        if message.topic == topics.IMPRESSIONS:
            x = np.floor(np.array(record["context"]) * 4096 + 0.5) / 4096
            shown[record["impression_id"], arm] = x
            if arm not in A_inv:
                A_inv[arm], b[arm] = np.eye(len(x)) / RIDGE, np.zeros(len(x))
            Ax = A_inv[arm] @ x
            A_inv[arm] -= np.outer(Ax, Ax) / (1 + x @ Ax)
        else:
            b[arm] += 1.199951171875 * shown[record["impression_id"], arm]  # a fast click (docs/bandit.md)
        theta[arm] = A_inv[arm] @ b[arm]
    return theta


def measure(settings: Settings, messages: list[Message], key: str, slots: int = 1) -> float:
    """Impressions per second, steady state."""
    stack.empty(settings)
    stack.send(settings, messages)
    client = stack.redis(settings)
    marks = [f"~mark-{n}" for n in range(MARKS)]

    def progress() -> float:
        return sum(found is not None for found in client.hmget(key, marks)) / MARKS

    with stack.job(settings, "rocksdb", slots, name=JOB), console.status(f"{JOB} at work"):
        stack.wait(lambda: progress() >= STEADY_FROM, "the steady state")
        begin_s, begin = time.monotonic(), progress()
        stack.wait(lambda: progress() == 1, "all impressions")
        took_s = time.monotonic() - begin_s
        stack.wait(lambda: _idle(client), "nothing is written any more")
    return IMPRESSIONS * (1 - begin) / took_s


def written(settings: Settings) -> int:
    """Bytes that the job has written to Kafka, as they lie on its disk."""
    with kafka_topics.admin(settings.kafka) as client:
        logs = [log for broker in client.describe_log_dirs() for log in broker["log_dirs"]]
    own = [topic for log in logs for topic in log["topics"] if topic["name"] in (topics.REWARDS, topics.STATISTICS)]
    return sum(part["partition_size"] for topic in own for part in topic["partitions"])


def _idle(client: Any) -> bool:
    before = client.info("commandstats")["cmdstat_hset"]["calls"]
    time.sleep(2)
    return bool(client.info("commandstats")["cmdstat_hset"]["calls"] == before)


def furthest(settings: Settings, expected: dict[str, Any], key: str) -> float:
    """The largest difference of any theta."""
    arms = list(expected)
    found = stack.redis(settings).hmget(key, arms)
    missing = [arm for arm, packed in zip(arms, found, strict=True) if packed is None]
    if missing:
        raise RuntimeError(f"{len(missing)} arms are not in Redis, such as {missing[0]}")
    posterior = unpack_posterior(found)
    return float(max(np.abs(posterior.theta[row] - expected[arm]).max() for row, arm in enumerate(arms)))
