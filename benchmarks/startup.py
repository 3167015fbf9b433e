"""Seconds from `headrace up` to healthy, and from `headrace submit` to the first feature in Redis."""

import time
from statistics import median

from benchmarks import clicks, stack
from benchmarks.harness import Result, show_round, table
from headrace.infra.settings import Settings

CLICKS_PER_S, LOAD_S = 100.0, 300
TARGET_S = 60.0


def main(rounds: int) -> Result:
    clicks.path(round(CLICKS_PER_S * LOAD_S))
    stack.headrace("up")  # what is built once is there then
    seconds: dict[str, list[float]] = {"up to healthy": [], "submit to first feature": []}
    for number in range(1, rounds + 1):
        stack.headrace("down")
        begin_s = time.monotonic()
        settings = stack.up()
        seconds["up to healthy"].append(round(time.monotonic() - begin_s, 1))
        seconds["submit to first feature"].append(round(_first_feature_s(settings), 1))
        show_round(number, rounds, seconds, "s")
    medians = {name: median(each) for name, each in seconds.items()}
    rows = [(name, medians[name], each) for name, each in seconds.items()]
    table("start-up, s", ("from", "median", "each round"), rows)
    ratio = TARGET_S / sum(medians.values())
    conditions = {"each round": seconds, "clicks/s": CLICKS_PER_S, "installed and built": "before"}
    return Result("startup", medians, {}, round(ratio, 3), f"the target, {TARGET_S:.0f} s in all", "s", conditions)


def _first_feature_s(settings: Settings) -> float:
    stack.empty(settings)
    client = stack.redis(settings)
    with clicks.sending(round(CLICKS_PER_S * LOAD_S), CLICKS_PER_S):
        begin_s = time.monotonic()
        with stack.job(settings, "heap", 1):
            stack.wait(lambda: stack.sessions(client) > 0, "the first feature in Redis")
            return time.monotonic() - begin_s
