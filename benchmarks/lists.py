"""Click to list, in an open loop: from when a click should be sent to a reader finding the shopper's list.

A version is trained on the first clicks of the data set, and the load is the same clicks: nearly all of its shoppers
get a new list with every click. Each probe is the first click of a shopper of its own.
"""

from benchmarks import clicks, open_loop, stack
from benchmarks.harness import Result
from benchmarks.open_loop import Watched
from headrace.infra.versions.store import VersionFollower
from headrace.schemas import redis_keys

JOB = "collaborative"
TRAINED_ON = 300_000  # clicks
FACTORS = 64
HOW = ("--factors", str(FACTORS), "--iterations", "10", "--unobserved", "1")
CLICKS_PER_S = 1_000.0
CLICKED = 1000  # items of the probes
TARGET_P99_MS = 120.0


def main(rate: float, probes: int) -> Result:
    """rate: clicks/s in the background; 0: the default."""
    settings = stack.up()
    stack.headrace("train", clicks.source().name, str(clicks.DATA), "--limit", f"{TRAINED_ON}", *HOW)
    rates = [rate or CLICKS_PER_S, open_loop.LOW_CLICKS_PER_S]
    measured = {f"{each:,.0f} clicks/s": open_loop.measure(settings, JOB, watched, each, probes) for each in rates}
    figures = open_loop.show("click to list in Redis, ms", measured)
    conditions = {"store": "heap", "slots": 1, "data": clicks.source().title, "factors": FACTORS}
    conditions |= {"items": len(_served()[1]), "list": settings.collaborative.top_n}
    conditions |= {"bundle_time_ms": settings.flink.bundle_time_ms, "a probe every ms": 1000 * open_loop.EVERY_S}
    ratio = TARGET_P99_MS / next(iter(figures.values()))["p99"]
    against = f"the target at the first rate, p99 of {TARGET_P99_MS:.0f} ms"
    return Result("lists", figures, {}, round(ratio, 3), against, "ms", conditions)


def watched() -> Watched:
    version, items = _served()
    return Watched(redis_keys.live(version, "{user}"), items[:CLICKED])


def _served() -> tuple[str, list[str]]:
    model = VersionFollower().model()
    if model is None:
        raise RuntimeError("a version must be published")
    return model.manifest.version, model.contents.items
