"""Policies by name, and the posteriors that a policy chooses by, from Redis."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.infra import extensions
from headrace.infra.errors import HeadraceError
from headrace.schemas import redis_keys
from headrace.udfs.bandit import hybrid_linucb, sums_version
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


def learnt(rules: "Bandit") -> str:
    """The version of what the learner with these settings teaches."""
    return sums_version.of_rules(encoder(rules), rules)


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


class Dice:
    """A generator of chance for each thread of each process: one that is shared, or copied by a fork, is no chance."""

    def __init__(self) -> None:
        self._own = threading.local()

    def rng(self) -> np.random.Generator:
        if getattr(self._own, "pid", None) != os.getpid():
            self._own.pid, self._own.rng = os.getpid(), np.random.default_rng()
        rng: np.random.Generator = self._own.rng
        return rng


class _Read(NamedTuple):
    at_s: float
    posterior: Posterior | None  # None: Redis has none


class _Fit(NamedTuple):
    at_s: float
    chooser: Chooser
    arms: dict[str, Posterior]


class Posteriors:
    """The posteriors of the arms of the policy called `name`, at most `fresh_s` old; for any number of threads.

    version: of what was learnt (udfs/bandit/sums_version.py). What is given out is never changed. The arms that were
    asked for last are kept, `kept` of them; a hybrid policy needs all.
    """

    def __init__(
        self,
        redis: "Redis | RedisCluster",
        chooser: Chooser,
        name: str,
        version: str,
        d: int,
        fresh_s: float,
        kept: int = 20_000,
    ) -> None:
        self._redis, self._chooser, self._d, self._fresh_s, self._kept = redis, chooser, d, fresh_s, kept
        self._key = redis_keys.bandit(name, version)
        self._arms: OrderedDict[str, _Read] = OrderedDict()  # the one asked for last comes last
        self._lock, self._fitting = threading.Lock(), threading.Lock()
        self._fit: _Fit | None = None

    def of(self, arms: Sequence[str]) -> tuple[Chooser, dict[str, Posterior]]:
        """The chooser, and the posteriors of those arms that have one.

        Raises RecommendationError if Redis holds something else.
        """
        now_s = time.monotonic()
        if isinstance(self._chooser.policy, HYBRID):
            fit = self._fitted(now_s)
            return fit.chooser, fit.arms
        found = self._known(arms, now_s)
        if old := [arm for arm in arms if arm not in found]:
            values: Any = self._redis.hmget(self._key, old)
            present = self._unpacked(dict(zip(old, values, strict=True)))
            read = {arm: _Read(now_s, present.get(arm)) for arm in old}
            self._keep(read)
            found |= read
        return self._chooser, {arm: each.posterior for arm, each in found.items() if each.posterior is not None}

    def _known(self, arms: Sequence[str], now_s: float) -> dict[str, _Read]:
        with self._lock:
            fresh = {arm: self._arms[arm] for arm in arms if arm in self._arms}
            fresh = {arm: read for arm, read in fresh.items() if read.at_s > now_s - self._fresh_s}
            for arm in fresh:
                self._arms.move_to_end(arm)
        return fresh

    def _keep(self, read: dict[str, _Read]) -> None:
        with self._lock:
            for arm, each in read.items():
                self._arms[arm] = each
                self._arms.move_to_end(arm)
            while len(self._arms) > self._kept:
                self._arms.popitem(last=False)

    def _fitted(self, now_s: float) -> _Fit:
        """The chooser with its common part fitted to every arm. While one thread fits, others take the fit before."""
        fit = self._fit
        if fit and (fit.at_s > now_s - self._fresh_s or not self._fitting.acquire(blocking=False)):
            return fit
        if not fit:
            self._fitting.acquire()
        try:
            if self._fit is fit:
                self._fit = self._fit_to_all(now_s)
            assert self._fit
            return self._fit
        finally:
            self._fitting.release()

    def _fit_to_all(self, now_s: float) -> _Fit:
        everything: Any = self._redis.hgetall(self._key)
        arms = self._unpacked({arm.decode(errors="replace"): packed for arm, packed in everything.items()})
        policy: Any = self._chooser.policy
        common = hybrid_linucb.fit(arms, self._d, self._chooser.ridge, policy.common.own, policy.common.shared)
        return _Fit(now_s, replace(self._chooser, policy=replace(policy, common=common)), arms)

    def _unpacked(self, packed: dict[str, bytes | None]) -> dict[str, Posterior]:
        """The posteriors of those arms that have a value. An arm that is gone from Redis has the prior again."""
        present = {arm: value for arm, value in packed.items() if value is not None}
        if not present:
            return {}
        try:
            every = unpack_posterior(list(present.values()))
        except ValueError as error:
            raise RecommendationError(f"Redis key {self._key}: {error}") from None
        if (d := every.theta.shape[1]) != self._d:
            raise RecommendationError(f"Redis key {self._key}: contexts must have {self._d} values, got arms of {d}")
        # Copies: a view would keep all that were read with it.
        rows = zip(every.theta, every.A_inv, every.n, strict=True)
        return {arm: Posterior(*(np.array(each) for each in row)) for arm, row in zip(present, rows, strict=True)}
