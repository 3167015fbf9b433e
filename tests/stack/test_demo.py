"""`headrace demo` as `make demo` runs it without a terminal: it prints lines, ends, and leaves a stack that learnt."""

import json
import math
import re
import struct
from collections import Counter
from typing import Any

import pytest

from headrace.infra.clients import flink
from headrace.infra.demo.scene import ITEMS
from headrace.infra.versions import store
from headrace.schemas import redis_keys
from headrace.schemas.topics import IMPRESSIONS
from headrace.udfs.bandit import sums_version
from tests import topic
from tests.stack.running import Stack, wait

pytestmark = [pytest.mark.stack, pytest.mark.shop]
SECONDS = 20
POLICIES = ("linucb", "popular", "random")


@pytest.fixture(scope="module")
def said(running_stack: Stack) -> str:
    running_stack.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_SECONDS", str(SECONDS))
        patch.setenv("HEADRACE_DATA", str(running_stack.home))  # no data set is there
        return running_stack.run("demo", timeout_s=280)


def test_it_tells_its_story_in_plain_lines(running_stack: Stack, said: str) -> None:
    told = ["streaming simulated shoppers, since Online Retail is not here", "the first one is in Redis", "serves"]
    told += [f"{job} runs" for job in ("session_features", "collaborative", "bandit")]
    told += ["The stack is still up.", "GET session:you", "GET live:als-", "HKEYS bandit:linucb", "make down"]
    assert [each for each in told if each not in said] == []
    assert "\x1b" not in said
    running = {job.name for job in flink.jobs(running_stack.settings.flink) if job.state == "RUNNING"}
    assert running == {"session_features", "collaborative", "bandit"}


def test_it_shows_the_click_rate_of_each_way(said: str) -> None:
    for policy in POLICIES:
        found = re.findall(rf"click rate of {policy} +([\d.]+) % ± ([\d.]+) of ([\d,]+) slates", said)
        rate, half_width, slates = (float(text.replace(",", "")) for text in found[-1])
        assert slates > 2 * SECONDS
        assert 0 < rate < 100
        assert 0 < half_width < 50
    assert "who knew all" in said


def test_a_click_changes_the_list_of_who_clicked(running_stack: Stack, said: str) -> None:
    *_, (p50, p99, clicks) = re.findall(r"my click changed my list in ([\d,]+) ms \(p50\), ([\d,]+) .* of (\d+)", said)
    assert 0 < int(p50.replace(",", "")) <= int(p99.replace(",", ""))
    assert int(clicks) > 5
    pointer = store.current()
    assert pointer
    shown = json.loads(running_stack.run("recommend", "you", "--json"))["data"]
    assert (shown["source"], shown["version"]) == ("live", pointer.version)
    assert all(entry["reason"] for entry in shown["items"])


def pulls(stack: Stack) -> Counter[str]:
    """Returns the impressions that each policy's arms have; a value is decoded as docs/redis.md says."""
    found: Counter[str] = Counter()
    for policy in POLICIES:
        arms: Any = stack.settings.redis.client().hgetall(redis_keys.bandit(policy, sums_version.DEFAULT))
        for blob in arms.values():
            v = struct.unpack(f"<{len(blob) // 8}d", blob)
            d = (math.isqrt(8 * len(v) + 1) - 3) // 2
            assert (d + 1) * (d + 2) // 2 == len(v)
            found[policy] += int(v[-1])
    return found


def test_the_bandit_knows_of_every_impression(running_stack: Stack, said: str) -> None:
    """Each policy of its own alone; the propensities of a slate are those of its way."""
    impressions = [json.loads(record.value) for record in topic.read(running_stack.settings.kafka, IMPRESSIONS)]
    shown = Counter(each["policy"] for each in impressions)
    assert set(shown) == set(POLICIES)
    wait(lambda: pulls(running_stack) == shown, 60, lambda: f"{pulls(running_stack)} of {shown}")
    for each in impressions:
        if each["policy"] == "popular":
            assert each["propensity"] == 1
        if each["policy"] == "random":
            assert each["propensity"] == pytest.approx(1 / (ITEMS - each["position"]))
