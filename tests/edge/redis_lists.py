"""Lists in Redis for the read SDK, written as the jobs and the publication of a version write them."""

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from redis import Redis

from headrace.schemas import redis_keys
from headrace.udfs.bandit import arms, sums_version
from headrace.udfs.bandit.context import Encoder, Number

NOW_MS = time.time_ns() // 1_000_000
POPULARITY = Encoder((Number("item", "popularity", scale=1.0),))  # contexts (1, popularity)
LEARNT = sums_version.of_encoder(POPULARITY)
ITEMS = {"a": 100.0, "b": 75.0, "c": 50.0, "d": 25.0}  # item -> users


def publish(redis: Redis, version: str = "v1", items: dict[str, float] = ITEMS) -> None:
    put(redis, redis_keys.popular(version), items, version)
    redis.set(redis_keys.model_current(), json.dumps({"version": version, "dims": {}, "published_ms": NOW_MS}))


def put(redis: Redis, key: str, items: dict[str, float], version: str = "v1", as_of_ms: int = NOW_MS) -> None:
    entries = [{"item": item, "score": score, "reason": None} for item, score in items.items()]
    redis.set(key, json.dumps({"version": version, "as_of_ms": as_of_ms, "items": entries}))


def learned(theta: Sequence[float], n: float, A_inv: Sequence[Sequence[float]] = ((1e-4, 0), (0, 1e-4))) -> bytes:
    posterior = arms.Posterior(np.array([theta], float), np.array([A_inv], float), np.array([n]))
    return arms.pack_posterior(posterior)[0]


def teach(redis: Redis, key: str, item: str, posterior: bytes) -> None:
    redis.hset(key, mapping={item: posterior})


def items_of(shown: Any) -> list[str]:
    return [entry.item for entry in shown.items]
