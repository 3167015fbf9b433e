"""What policies have earned, and what others would have earned: the topic `rewards`, last value of each impression."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Kafka
from headrace.schemas.topics import REWARDS
from headrace.udfs.bandit import ope

Record = dict[str, Any]  # schemas/reward.avsc


class Earned(NamedTuple):
    """A policy's mean reward of an impression, with its 95 % interval over slates."""

    policy: str
    slates: int
    impressions: int
    reward: float
    low: float
    high: float


def last(kafka: Kafka) -> list[Record]:
    """Returns the last record of each impression in the topic `rewards`."""
    newest = {record.key: record.value for record in kafka_topics.records(kafka, REWARDS)}
    return [msgspec.json.decode(value) for value in newest.values()]


def of_day(records: Iterable[Record], day: date) -> list[Record]:
    """Returns the records whose impression was on this day, UTC."""
    return [each for each in records if datetime.fromtimestamp(each["ts_ms"] / 1000, UTC).date() == day]


def log(records: Sequence[Record], target: Callable[[Record], float]) -> ope.DecisionLog:
    """Returns the records for the estimators of udfs/bandit/ope.

    target: the probability with which the policy in question would show a record's item.
    """
    columns = (
        [each[name] for each in records] if name else [target(each) for each in records]
        for name in ("reward", "propensity", None)
    )
    return ope.DecisionLog(*(np.array(column, np.float64) for column in columns))


def earned(records: Iterable[Record], rng: np.random.Generator) -> list[Earned]:
    """Returns what each policy earned, most impressions first."""
    by_policy: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_policy[record["policy"]].append(record)
    every = [_earned(policy, theirs, rng) for policy, theirs in by_policy.items()]
    return sorted(every, key=lambda each: (-each.impressions, each.policy))


def _earned(policy: str, records: list[Record], rng: np.random.Generator) -> Earned:
    slates = np.array([each["impression_id"] for each in records])
    by_slate = ope.ips(log(records, lambda each: float(each["propensity"]))).by(slates)
    interval = ope.bootstrap(by_slate, rng)
    return Earned(policy, len(by_slate.numerator), len(records), by_slate.value, interval.low, interval.high)
