"""The shipped udfs/jvm/UserHistory.java against the oracle: the same random clicks, each path, counter and session."""

import json
import random
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.infra import paths
from headrace.infra.stack import programs
from tests.oracles.sessions import Oracle

pytestmark = pytest.mark.flink
SOURCES = paths.PACKAGE / "udfs" / "jvm" / "src"
MIN = 60_000
DAY = 24 * 60 * MIN
T0 = 1_762_000_200_000
ACTIONS = ("view", "view", "click", "search", "purchase")
SEQUENCES, SOAK_SEQUENCES, AT_ONCE = 3_000, 100_000, 1_000
Click = dict[str, Any]
Sequence = tuple[SimpleNamespace, list[Click]]


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Returns the command that runs Replay.java, compiled with what it needs of our sources."""
    classes, flink = tmp_path_factory.mktemp("classes"), programs.flink_home() / "lib" / "*"
    javac = Path(programs.java()).resolve().parent / "javac"
    folders = f"{SOURCES / 'main' / 'java'}:{SOURCES / 'test' / 'java'}"
    replay = SOURCES / "test" / "java" / "headrace" / "Replay.java"
    subprocess.run(
        [javac, "-nowarn", "-parameters", "-d", classes, "-cp", flink, "-sourcepath", folders, replay], check=True
    )
    return [programs.java(), "-cp", f"{classes}:{flink}", "headrace.Replay"]


def test_random_sequences_equal_the_oracle(java: list[str], request: pytest.FixtureRequest) -> None:
    rng, left = random.Random(16), SOAK_SEQUENCES if request.config.getoption("soak") else SEQUENCES
    overlaps = 0
    while left:
        some = [sequence(rng) for _ in range(min(left, AT_ONCE))]
        for given, found in zip(some, replayed(java, some), strict=True):
            expected, overlap = by_oracle(*given)
            assert found == expected, text(*given)
            overlaps += overlap
        left -= len(some)
    assert overlaps > 10  # spans that overlap an emitted one


def sequence(rng: random.Random) -> Sequence:
    """Returns settings and clicks: visits and pauses of a user, some clicks late, repeated, of another session id."""
    history = rng.choice((3, 5, 10, 50))
    settings = SimpleNamespace(
        gap_ms=30 * MIN, lateness_ms=rng.choice((0, 10, 60)) * MIN, history=history, recent=rng.randrange(1, history),
        boundary=rng.choice(("gap", "client")), forget_ms=30 * DAY, future_ms=0, bought_hidden_ms=DAY, time_zone="UTC",
    )  # fmt: skip
    minute, clicks = 200.0, list[Click]()
    for n in range(rng.randrange(1, 40)):
        minute += rng.choice((0, 0.5, 5, 12, 30, 31, 45, 71))
        late = rng.choice((0, 0, 0, 5, 30, 37, 41, 60, 100))
        clicks.append({"event_id": f"e{n}", "user_id": "u", "item_id": f"i{rng.randrange(6)}"}
            | {"action": rng.choice(ACTIONS), "session_id": rng.choice((None, None, "s1", "s2"))}
            | {"ts_ms": T0 + round((minute - late) * MIN) + rng.randrange(-1, 2)})  # fmt: skip
        if clicks and rng.random() < 0.15:
            clicks.append(rng.choice(clicks))
    return settings, clicks


def replayed(java: list[str], sequences: list[Sequence]) -> Iterator[list[str]]:
    given = "".join(text(*each) for each in sequences)
    answer = subprocess.run(java, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = iter(answer.splitlines())
    for _ in sequences:
        yield list(iter(lambda: next(lines).strip(), ""))


def text(settings: SimpleNamespace, clicks: list[Click]) -> str:
    names = ("lateness_ms", "history", "recent", "boundary")
    lines = [" ".join(f"{name}={getattr(settings, name)}" for name in names)]
    for c in clicks:
        item = "-" if c["action"] == "search" else c["item_id"]
        lines.append(f"{c['event_id']} {c['ts_ms']} {c['action']} {item} {c['session_id'] or '-'}")
    return "\n".join([*lines, "\n"])


def by_oracle(settings: SimpleNamespace, clicks: list[Click]) -> tuple[list[str], bool]:
    """Returns the lines that Replay must print, and whether any two closed sessions overlap."""
    oracle = Oracle(settings)
    lines = [answer(oracle, click) for click in clicks]
    oracle.finish(T0 + 400 * DAY)
    closed = sorted((span["start_ms"], span["end_ms"]) for span in oracle.closed)
    overlap = any(later[0] <= earlier[1] for earlier, later in pairwise(closed))
    return lines + sorted(span_line(span) for span in oracle.closed), overlap


def answer(oracle: Oracle, click: Click) -> str:
    path = oracle.feed(0, 0, click["ts_ms"] + 1, b"u", json.dumps(click).encode())
    user = oracle.users.get("u")
    if path.startswith("dead") or not user or not user.live:
        return path
    live = user.live
    counts = (live.counts.total(), len(live.items), len(live.categories), live.late, live.repeats)
    truncated = int(user.accepted > oracle.session.recent)
    return (
        f"{live.start} {live.end} {user.as_of_ms} {' '.join(map(str, counts))} {truncated} {live.session_id or 'null'}"
    )


def span_line(span: dict[str, Any]) -> str:
    counts = ", ".join(f"{action}={count}" for action, count in sorted(span["counts"].items()))
    start = f"{span['start_ms']} {span['end_ms']} {span['events']} {{{counts}}} {','.join(span['items'])}"
    return f"{start} {span['distinct_items']} {str(span['truncated']).lower()}"
