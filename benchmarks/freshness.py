"""Click to visible in Redis, in an open loop: from when a click should be sent to a reader finding its session.

The load is real clicks at a steady rate, then almost none. benchmarks/open_loop.py says how probes are counted.
"""

from benchmarks import clicks, open_loop, stack
from benchmarks.harness import Result
from headrace.schemas import redis_keys

JOB = "session_features"
CLICKS_PER_S = 12_000.0
TARGET_P99_MS = 60.0
WATCHED = open_loop.Watched(redis_keys.session("{user}"), ["probe"])


def main(rate: float, probes: int) -> Result:
    """rate: clicks/s in the background; 0: the default."""
    settings = stack.up()
    rates = [rate or CLICKS_PER_S, open_loop.LOW_CLICKS_PER_S]
    measured = {
        f"{each:,.0f} clicks/s": open_loop.measure(settings, JOB, lambda: WATCHED, each, probes) for each in rates
    }
    figures = open_loop.show("click to visible in Redis, ms", measured)
    conditions = {
        "store": "heap",
        "slots": 1,
        "data": clicks.source().title,
        "a probe every ms": 1000 * open_loop.EVERY_S,
    }
    against = f"the target at the first rate, p99 of {TARGET_P99_MS:.0f} ms"
    ratio = TARGET_P99_MS / next(iter(figures.values()))["p99"]
    return Result("freshness", figures, {}, round(ratio, 3), against, "ms", conditions)
