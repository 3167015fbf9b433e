"""Policies by name, and the posteriors that a policy chooses by, from Redis."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.infra import extensions
from headrace.infra.errors import HeadraceError
from headrace.schemas import redis_keys
from headrace.udfs.bandit import hybrid_linucb
from headrace.udfs.bandit.arms import Posterior, unpack_posterior
from headrace.udfs.bandit.context import SHOPPER, Encoder
from headrace.udfs.bandit.epsilon_greedy import EpsilonGreedy, Uniform
from headrace.udfs.bandit.hybrid_linucb import HybridLinUCB
from headrace.udfs.bandit.linucb import LinUCB
from headrace.udfs.bandit.slate import Chooser, Policy
from headrace.udfs.bandit.thompson import HybridThompson, Thompson

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

    from headrace.infra.settings import Bandit

POLICIES: dict[str, type[Any]] = {
    "linucb": LinUCB,
    "thompson": Thompson,
    "epsilon_greedy": EpsilonGreedy,
    "uniform": Uniform,
    "hybrid_linucb": HybridLinUCB,
    "hybrid_thompson": HybridThompson,
}
HYBRID = (HybridLinUCB, HybridThompson)
SETTINGS = {  # settings of section [bandit], by policy
    "linucb": ("alpha",),
    "thompson": ("v",),
    "hybrid_linucb": ("alpha",),
    "hybrid_thompson": ("v", "draws"),
}


class RecommendationError(ValueError):
    """A key of Redis does not hold what docs/redis.md says."""


def policy(
    name: str, *, d: int = SHOPPER.d, own: Sequence[int] = (), shared: Sequence[int] = (), **settings: Any
) -> Policy:
    """Makes a policy by its name, with its settings (docs/bandit.md). Raises ValueError for an unknown name.

    d, own and shared are for hybrid policies alone: the length of contexts, and indices in them; empty means all. The
    common part of a hybrid policy is fitted when it chooses.
    """
    if extensions.is_reference(name):
        return _extension(name)
    if name not in POLICIES:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)} or module:NAME, got {name!r}")
    if POLICIES[name] in HYBRID:
        settings["common"] = hybrid_linucb.fit({}, d, 1.0, own, shared)
    new: Policy = POLICIES[name](**settings)
    return new


def _extension(reference: str) -> Policy:
    """A shop's own policy: an object, or a class that is made without arguments."""
    extension: Any = extensions.resolve("bandit.policy", reference)
    own: Policy = extension() if isinstance(extension, type) else extension
    if not callable(getattr(own, "chances", None)):
        raise HeadraceError(f"bandit.policy must name a Policy, which has `chances`, got {reference!r}")
    return own


def encoder(rules: "Bandit") -> Encoder:
    """The encoder of section [bandit] of infra/config/settings.toml, which the learner also uses."""
    return extensions.resolve_kind("bandit.encoder", rules.encoder, Encoder)


def chooser(rules: "Bandit") -> Chooser:
    """The chooser of section [bandit]: its policy, exploration and ridge."""
    settings = {name: getattr(rules, name) for name in SETTINGS.get(rules.policy, ())}
    return Chooser(
        policy(rules.policy, d=encoder(rules).d, **settings),
        exploration=rules.exploration,
        exploration_max=rules.exploration_max,
        new_below=rules.new_below,
        new_exposure=rules.new_exposure,
        ridge=rules.ridge,
    )


def short_name(policy: str) -> str:
    """The name under which the arms of [bandit] policy are kept: its own, or the NAME of module:NAME."""
    return policy.rpartition(":")[2]


def name_of(policy: Policy) -> str:
    """The name of a policy in Redis and in impressions, unless another is given.

    Raises ValueError for a policy of another class.
    """
    name = next((name for name, kind in POLICIES.items() if type(policy) is kind), None)
    if name is None:
        raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {type(policy).__name__}")
    return name


class Posteriors:
    """The posteriors of the arms of the policy called `name`, at most `fresh_s` old."""

    def __init__(self, redis: "Redis | RedisCluster", chooser: Chooser, name: str, d: int, fresh_s: float) -> None:
        self._redis, self._chooser, self._d, self._fresh_s = redis, chooser, d, fresh_s
        self._key = redis_keys.bandit(name)
        self._arms: dict[str, Posterior] = {}
        self._read_s: dict[str, float] = {}  # when each arm was asked for, found or not
        self._fitted: tuple[Chooser, float] | None = None

    def of(self, arms: Sequence[str]) -> tuple[Chooser, dict[str, Posterior]]:
        """The chooser, and the posteriors of those arms that have one.

        Raises RecommendationError if Redis holds something else.
        """
        now_s = time.monotonic()
        if isinstance(self._chooser.policy, HYBRID):
            return self._fit(now_s), self._arms
        old = [arm for arm in arms if self._read_s.get(arm, -self._fresh_s) <= now_s - self._fresh_s]
        if old:
            values: Any = self._redis.hmget(self._key, old)
            self._keep(dict(zip(old, values, strict=True)))
            self._read_s |= dict.fromkeys(old, now_s)
        return self._chooser, {arm: self._arms[arm] for arm in arms if arm in self._arms}

    def _fit(self, now_s: float) -> Chooser:
        """The chooser with its common part fitted to every arm of the policy."""
        if self._fitted is None or self._fitted[1] <= now_s - self._fresh_s:
            everything: Any = self._redis.hgetall(self._key)
            self._arms = {}
            self._keep({arm.decode(): packed for arm, packed in everything.items()})
            policy: Any = self._chooser.policy
            places = policy.common.own, policy.common.shared
            common = hybrid_linucb.fit(self._arms, self._d, self._chooser.ridge, *places)
            self._fitted = replace(self._chooser, policy=replace(policy, common=common)), now_s
        return self._fitted[0]

    def _keep(self, packed: dict[str, bytes | None]) -> None:
        """Replaces the posteriors of these arms. An arm that is gone from Redis has the prior again."""
        for arm in packed:
            self._arms.pop(arm, None)
        present = {arm: value for arm, value in packed.items() if value is not None}
        if not present:
            return
        try:
            every = unpack_posterior(list(present.values()))
        except ValueError as error:
            raise RecommendationError(f"Redis key {self._key}: {error}") from None
        if (d := every.theta.shape[1]) != self._d:
            raise RecommendationError(f"Redis key {self._key}: contexts must have {self._d} values, got arms of {d}")
        for at, arm in enumerate(present):
            self._arms[arm] = Posterior(every.theta[at], every.A_inv[at], every.n[at])
