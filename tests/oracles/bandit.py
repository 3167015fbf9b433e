"""docs/bandit.md recomputed in plain loops: what `rewards`, `statistics` and `dead_letters` must hold, and each theta.

It shares no code with udfs, jobs or infra, and reads both topics, not our output. It sums Python floats in the order of
the impressions' keys, in which the job does not add; numpy.linalg.solve solves the regressions.
"""

import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from tests.oracles.contract import Contract

CONTEXT_MAX_ITEMS = 256
SHOWN = ("surface", "position", "policy", "model_version", "propensity", "encoder_version")  # copied into the reward
Key = tuple[str, str, str]  # user_id, impression_id, item_id


class Rules(Protocol):
    reward_delay_ms: int
    fast_ms: int
    fast_factor: float
    first_factor: float
    ridge: float
    half_life_ms: int
    periods_kept: int
    rewards: dict[str, float]


class Impression(NamedTuple):
    record: dict[str, Any]
    x: list[float]
    t: int
    append_ms: int


class Feedback(NamedTuple):
    action: str
    position: int | None
    t: int
    append_ms: int


class Posterior(NamedTuple):
    A_inv: list[list[float]]
    theta: list[float]
    n: float


@dataclass
class Arm:
    A: list[list[float]]
    b: list[float]
    n: float = 0.0
    as_of_ms: int = 0
    period: int = 0

    def add(self, x: list[float], reward: float, weight: float) -> None:
        for i, value in enumerate(x):
            self.b[i] += weight * reward * value
            for j, other in enumerate(x):
                self.A[i][j] += weight * value * other
        self.n += weight

    def packed(self) -> bytes:
        upper = [value for i, row in enumerate(self.A) for value in row[i:]]
        values = [*upper, *self.b, self.n]
        return struct.pack(f"<{len(values)}d", *(value + 0.0 for value in values))  # no -0.0

    def theta(self, ridge: float) -> Any:
        return np.linalg.solve(np.array(self.A) + ridge * np.eye(len(self.b)), np.array(self.b))

    def inverse(self, ridge: float) -> Any:
        return np.linalg.inv(np.array(self.A) + ridge * np.eye(len(self.b)))


def unpack(blob: bytes) -> Posterior:
    """Unpacks as docs/bandit.md says that anyone can."""
    v = struct.unpack(f"<{len(blob) // 8}d", blob)
    d = (math.isqrt(8 * len(v) + 1) - 3) // 2
    left, square = iter(v[: -d - 1]), [[0.0] * d for _ in range(d)]
    for i in range(d):
        for j in range(i, d):
            square[i][j] = square[j][i] = next(left)
    return Posterior(square, list(v[-d - 1 : -1]), v[-1])


@dataclass
class Oracle:
    rules: Rules
    future_ms: int
    d: int
    encoder_version: str
    shown: dict[Key, Impression] = field(default_factory=dict)
    acted: dict[Key, list[Feedback]] = field(default_factory=lambda: defaultdict(list))
    dead: dict[tuple[int, int], tuple[bytes | None, str, bytes | None]] = field(default_factory=dict)
    duplicates: int = 0
    refused_clicks: int = 0

    def feed(self, impressions: Iterable[Any], clicks: Iterable[Any]) -> "Oracle":
        """Takes records of each topic, every partition in the order of its offsets."""
        contracts = Contract("impression"), Contract("click")
        contracts[0].fields = [rule for rule in contracts[0].fields if rule["name"] != "context"]
        for record in impressions:
            self._show(record, contracts[0])
        for record in clicks:
            self._act(record, contracts[1])
        return self

    def _show(self, record: Any, contract: Contract) -> None:
        shown, reasons = contract.check(record.value)
        broken = {*reasons.split("|"), *context_reasons(shown), *propensity_reasons(shown)} - {""}
        if "json" in broken:
            broken = {"json"}
        if not broken and shown["ts_ms"] > record.timestamp + self.future_ms:
            broken = {"future"}
        if not broken and not self._is_of_our_encoder(shown):
            broken = {"encoder"}
        key = key_of(shown)
        if broken:
            self.dead[record.partition, record.offset] = (record.key, "|".join(sorted(broken)), record.value)
        elif key in self.shown:
            self.duplicates += 1
        else:
            x = [rounded(value, 8) for value in shown["context"]]
            self.shown[key] = Impression(shown, x, min(shown["ts_ms"], record.timestamp), record.timestamp)

    def _is_of_our_encoder(self, shown: dict[str, Any]) -> bool:
        return shown.get("encoder_version") in (None, self.encoder_version) and len(shown["context"]) == self.d

    def _act(self, record: Any, contract: Contract) -> None:
        click, reasons = contract.check(record.value)
        if reasons or click["ts_ms"] > record.timestamp + self.future_ms:
            self.refused_clicks += 1
        elif click.get("impression_id"):
            t = min(click["ts_ms"], record.timestamp)
            event = Feedback(click["action"], click.get("session_position"), t, record.timestamp)
            self.acted[key_of(click)].append(event)

    def feedback(self, key: Key) -> list[Feedback]:
        """Returns all feedback that counts on an impression."""
        acted = self.acted.get(key, [])
        return [event for event in acted if 0 <= self.elapsed(key, event) <= self.rules.reward_delay_ms]

    def elapsed(self, key: Key, event: Feedback) -> int:
        """Returns the ms by the clients' clocks, and by the broker's where that is less than none."""
        shown = self.shown[key]
        by_clients = event.t - shown.t
        return by_clients if by_clients >= 0 else event.append_ms - shown.append_ms

    def reward(self, key: Key) -> float:
        seen = self.feedback(key)
        did = [event.action for event in seen]
        if "refund" in did:
            seen = [event for event in seen if event.action not in ("purchase", "cart")]
        elif "uncart" in did and "purchase" not in did:
            seen = [event for event in seen if event.action != "cart"]
        values = [self._value(event, self.elapsed(key, event)) for event in seen]
        negative = [value for value in values if value < 0]
        return min(negative) if negative else max(values, default=0.0)

    def _value(self, event: Feedback, elapsed_ms: int) -> float:
        value = self.rules.rewards.get(event.action, 0.0)
        fast = self.rules.fast_factor if elapsed_ms <= self.rules.fast_ms else 1.0
        first = self.rules.first_factor if event.position == 0 else 1.0
        return rounded(value * (fast * first) if value > 0 else value, 16)

    def as_of_ms(self, key: Key) -> int:
        return max([self.shown[key].append_ms, *(event.append_ms for event in self.feedback(key))])

    def rewards(self) -> dict[Key, dict[str, Any]]:
        """Returns the last record by key."""
        return {
            key: {name: impression.record.get(name) for name in SHOWN}
            | {"user_id": key[0], "impression_id": key[1], "item_id": key[2], "context": impression.x}
            | {"ts_ms": impression.t, "reward": self.reward(key), "as_of_ms": self.as_of_ms(key)}
            for key, impression in self.shown.items()
        }

    def statistics(self) -> dict[tuple[str, str], Arm]:
        """Returns the statistics by policy and arm."""
        of_arm = defaultdict[tuple[str, str], list[Key]](list)
        for key in sorted(self.shown):
            of_arm[self.shown[key].record["policy"], key[2]].append(key)
        return {arm: self._sums(keys) for arm, keys in of_arm.items()}

    def _sums(self, keys: list[Key]) -> Arm:
        arm = Arm([[0.0] * self.d for _ in range(self.d)], [0.0] * self.d)
        newest = arm.period = max(map(self._period, keys))
        for key in keys:
            age = newest - self._period(key)
            if age == 0 or age < self.rules.periods_kept:
                arm.add(self.shown[key].x, self.reward(key), 2.0**-age)
        arm.as_of_ms = max(map(self.as_of_ms, keys))
        return arm

    def _period(self, key: Key) -> int:
        return self.shown[key].t // self.rules.half_life_ms if self.rules.half_life_ms else 0


def key_of(record: Mapping[str, Any]) -> Any:
    return tuple(record.get(name) for name in ("user_id", "impression_id", "item_id"))


def rounded(value: float, bound: float) -> float:
    return max(-bound, min(bound, math.floor(value * 4096 + 0.5) / 4096))


def context_reasons(shown: Mapping[str, Any]) -> set[str]:
    if not shown:
        return set()
    if "context" not in shown:
        return {"missing"}
    context = shown["context"]
    if not isinstance(context, list) or any(type(value) not in (int, float) for value in context):
        return {"type"}
    if any(math.isinf(value) for value in context):
        return {"json"}
    return {"value"} if len(context) > CONTEXT_MAX_ITEMS else set()


def propensity_reasons(shown: Mapping[str, Any]) -> set[str]:
    return {"value"} if shown.get("propensity") == 0 else set()  # the contract above knows no exclusive minimum
