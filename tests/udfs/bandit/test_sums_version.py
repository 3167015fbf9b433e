"""What changes the meaning of sums changes their version, and nothing else does."""

from dataclasses import replace

from headrace.infra.settings import load
from headrace.udfs.bandit import sums_version
from headrace.udfs.bandit.context import SHOPPER, Encoder, Number
from headrace.udfs.bandit.reward import RewardRule

RULE = RewardRule()


def test_the_default_settings_have_the_default_version() -> None:
    """It is that of all records without one, so it never changes: a new default rule is another version."""
    assert sums_version.of_rules(SHOPPER, load().bandit) == sums_version.DEFAULT == "ec16e992c3f0"


def test_encoder_rule_and_half_life_are_in_it() -> None:
    rules = [
        replace(RULE, values={"click": 2.0}),
        replace(RULE, fast_ms=9_999),
        replace(RULE, fast_factor=1.3),
        replace(RULE, first_factor=1.2),
        replace(RULE, reward_delay_ms=299_999),
    ]
    found = [sums_version.sums_version(SHOPPER, rule) for rule in rules]
    found += [sums_version.sums_version(SHOPPER, RULE, 1_000, periods) for periods in (8, 9)]
    found += [sums_version.sums_version(SHOPPER, RULE, 1_001, 8), sums_version.DEFAULT]
    found.append(sums_version.of_encoder(Encoder((Number("item", "price", 10.0),))))
    assert len(set(found)) == len(found)


def test_what_means_the_same_is_the_same() -> None:
    """The order of actions, an action that is worth 0, and how many periods are kept where nothing fades."""
    other = replace(RULE, values={"search": 0.0} | dict(reversed(list(RULE.values.items()))))
    assert sums_version.sums_version(SHOPPER, other, 0, 3) == sums_version.DEFAULT
