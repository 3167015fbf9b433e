"""The version that the demo serves: trained in about a second on the past of its simulated shop."""

import time
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.edge.shoppers.simulator import Shop, in_the_past
from headrace.infra.settings import Settings
from headrace.infra.versions import factor_version, redis_view, rules, store
from headrace.jobs.batch.training import local
from headrace.jobs.batch.training.local import Training
from headrace.udfs.factors import als

PAST = 20_000  # events
FACTORS, ITERATIONS = 16, 6
HALF_LIFE_MS = 90 * 86_400_000.0
RATING_MAX = 5.0


def publish(shop: Shop, seed: int, settings: Settings) -> store.Pointer:
    """Publishes a version of the shop, or that of an earlier demo of the same shop, and shows it in Redis."""
    how = Training(FACTORS, ITERATIONS, als.ials(), HALF_LIFE_MS, RATING_MAX, settings.session.history, seed)
    lineage = {"dataset": "simulator", "seed": seed, "items": len(shop.items), "events": PAST}
    parameters = how.parameters()
    version = _kept(lineage, parameters) or _train(shop, how, lineage=lineage, parameters=parameters)
    pointer = store.publish(version, _now_ms())
    redis_view.show(settings.redis.client(), store.load(version), pointer, rules.read(Path(settings.night.rules)))
    return pointer


def _kept(lineage: dict[str, Any], parameters: dict[str, Any]) -> str | None:
    same = [each for each in store.versions() if (each.lineage, each.parameters) == (lineage, parameters)]
    return same[-1].version if same else None


def _train(shop: Shop, how: Training, **described: Any) -> str:
    log = local.read(islice(in_the_past(shop, PAST), PAST))
    contents = local.train(log, how, lambda: None)
    return factor_version.write(contents, _now_ms(), {}, kind="als", users=log.users, **described).version


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
