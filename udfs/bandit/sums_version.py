"""What sums and posteriors are of, as one short name: the encoder, the rule of rewards and the half-life.

Sums of two versions never meet. Each has keys of its own in Redis and in the topic `statistics`, and a reader reads
those of its own settings (docs/bandit.md, "Versions").
"""

import json
from hashlib import blake2b
from typing import Protocol

from headrace.udfs.bandit.context import SHOPPER, Encoder
from headrace.udfs.bandit.reward import RewardRule


class BanditRules(Protocol):
    """Section [bandit] of the settings."""

    rewards: dict[str, float]
    fast_ms: int
    fast_factor: float
    first_factor: float
    reward_delay_ms: int
    half_life_ms: int
    periods_kept: int


def rule(rules: BanditRules) -> RewardRule:
    """The rule of rewards of the settings. Raises ValueError if it breaks a rule of its own."""
    return RewardRule(rules.rewards, rules.fast_ms, rules.fast_factor, rules.first_factor, rules.reward_delay_ms)


def of_rules(encoder: Encoder, rules: BanditRules) -> str:
    """The version of what the settings teach."""
    return sums_version(encoder, rule(rules), rules.half_life_ms, rules.periods_kept)


def sums_version(encoder: Encoder, rule: RewardRule, half_life_ms: int = 0, periods_kept: int = 1) -> str:
    """12 hex digits, the same for the same meaning on every machine. periods_kept has one only with a half-life."""
    forgetting = [half_life_ms, periods_kept] if half_life_ms else []
    meaning = [encoder.version, rule.table.tolist(), rule.fast_ms, rule.reward_delay_ms, forgetting]
    return blake2b(json.dumps(meaning).encode(), digest_size=6).hexdigest()


def of_encoder(encoder: Encoder) -> str:
    """The version of an encoder with the default rule, where nothing is forgotten."""
    return sums_version(encoder, RewardRule())


DEFAULT = of_encoder(SHOPPER)  # that of records of `statistics` that name none


def group(job: str, version: str) -> str:
    """The consumer group of a job whose sums are of this version. Earlier releases had one for all."""
    return job if version in ("", DEFAULT) else f"{job}-{version}"
