"""The bandit's job on a real stack, what it has written, and how that differs from the oracle."""

import base64
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.infra.operate import generations
from headrace.infra.settings import Settings
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, IMPRESSIONS, REWARDS, STATISTICS
from headrace.udfs.bandit import arms
from headrace.udfs.bandit.context import SHOPPER
from tests import topic
from tests.oracles import bandit
from tests.oracles.bandit import Oracle
from tests.stack.compare import unequal
from tests.stack.running import Stack
from tests.streams.bandit import Sent

JOB = "bandit"


@dataclass(frozen=True)
class Learning(Stack):
    job_name: str = JOB
    reads: tuple[str, ...] = (IMPRESSIONS, CLICKS)

    def send_all(self, stream: Sequence[Sent]) -> None:
        for name in (IMPRESSIONS, CLICKS):
            topic.send(self.settings.kafka, name, [each.record for each in stream if each.topic == name])


def oracle_of(settings: Settings) -> Oracle:
    oracle = Oracle(settings.bandit, settings.session.future_ms, SHOPPER.d, SHOPPER.version)
    return oracle.feed(topic.read(settings.kafka, IMPRESSIONS), topic.read(settings.kafka, CLICKS))


def differences(settings: Settings, oracle: Oracle) -> list[str]:
    """Returns differences; none if `statistics`, `rewards`, `dead_letters` and Redis equal the oracle."""
    expected = oracle.statistics()
    known: dict[tuple[str, str], dict[str, Any]] = {
        key: {"policy": key[0], "arm": key[1], "n": int(arm.n), "packed": arm.packed(), "as_of_ms": arm.as_of_ms}
        | {"version": version(settings), "period": arm.period}
        for key, arm in expected.items()
    }
    exact = {key: posterior_of(arm["packed"], settings) for key, arm in known.items()}
    found = posteriors(settings)
    return [
        *unequal("rewards", oracle.rewards(), newest(settings, REWARDS, ("user_id", "impression_id", "item_id"))),
        *unequal("statistics", known, statistics(settings)),
        *unequal("Redis", exact, found),
        *(line for key, arm in expected.items() if key in found for line in inexact(key, arm, found[key], settings)),
        *unequal("dead_letters", oracle.dead, dead_letters(settings, oracle)),
    ]


def posterior_of(packed: bytes, settings: Settings) -> bytes:
    """Returns what exact sums must become, byte for byte; `inexact` compares with numpy's own solution."""
    return arms.pack_posterior(arms.solve(arms.unpack([packed]), settings.bandit.ridge))[0]


def inexact(key: Any, arm: bandit.Arm, packed: bytes, settings: Settings) -> list[str]:
    found, ridge = bandit.unpack(packed), settings.bandit.ridge
    near = np.allclose(found.theta, arm.theta(ridge), rtol=0, atol=1e-9)
    near = near and np.allclose(found.A_inv, arm.inverse(ridge), rtol=0, atol=1e-9)
    return [] if near and found.n == arm.n else [f"{key}: expected {arm.theta(ridge)}, got {found}"]


def newest(settings: Settings, name: str, key: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Returns the last record of each key."""
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    for record in topic.read(settings.kafka, name):
        value = json.loads(record.value)
        assert json.loads(record.key) == {part: value[part] for part in key}
        last[tuple(value[part] for part in key)] = value
    return last


def statistics(settings: Settings) -> dict[tuple[str, ...], dict[str, Any]]:
    last = newest(settings, STATISTICS, ("policy", "arm", "version"))
    ours = {key[:2]: value for key, value in last.items() if key[2] == version(settings)}
    return {key: value | {"packed": base64.b64decode(value["packed"])} for key, value in ours.items()}


def version(settings: Settings) -> str:
    return generations.generation(settings, JOB)


def posteriors(settings: Settings) -> dict[tuple[str, str], bytes]:
    """Returns all posteriors in Redis of the settings' version, by policy and arm."""
    client, parts = settings.redis.client(), redis_keys.bandit("POLICY", version(settings)).split("POLICY")
    keys: Any = sorted(key for key in client.scan_iter() if not key.startswith(b"writer:"))  # the fence
    assert all(key.decode().startswith(parts[0]) for key in keys)
    keys = [key for key in keys if key.decode().endswith(parts[1])]  # others are of other versions
    return {
        (key.decode().removeprefix(parts[0]).removesuffix(parts[1]), arm.decode()): packed
        for key in keys
        for arm, packed in client.hgetall(key).items()  # type: ignore[union-attr]
    }


def dead_letters(settings: Settings, oracle: Oracle) -> dict[tuple[int, int], Any]:
    """Returns reasons by place in `impressions`. Any reason that the oracle has for a record counts as equal."""
    found: dict[tuple[int, int], Any] = {}
    for record in topic.read(settings.kafka, DEAD_LETTERS):
        headers = {name: value.decode() for name, value in record.headers}
        place, said = (int(headers["partition"]), int(headers["offset"])), headers["reason"]
        assert headers["topic"] == IMPRESSIONS
        assert headers["detail"]
        assert place not in found
        _, allowed, raw = oracle.dead.get(place, (None, "", None))
        value = raw if said == "size" and record.value is None else record.value  # too large to pass again
        found[place] = record.key, allowed if said in allowed.split("|") else said, value
    return found


def assert_equal(learning: Learning) -> Oracle:
    oracle = oracle_of(learning.settings)
    different = differences(learning.settings, oracle)
    assert not different, "\n".join(different)
    return oracle


def counters(learning: Learning) -> Counter[str]:
    """Returns the job's own metrics, summed over subtasks."""
    found: Counter[str] = Counter()
    for name, value in re.findall(
        r"_(entered|refused_impressions|refused_clicks|feedback_out_of_time)\{.*\} (\S+)", learning.metrics()
    ):
        found[name] += int(float(value))
    return found
