"""The functions that write lists obey the rules, and follow them: the lists that they make, and those made before."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from redis import Redis

from headrace.infra.settings import load
from headrace.infra.versions import followed_rules, store
from headrace.jobs.streaming import obeyed_rules
from headrace.jobs.streaming.collaborative import Recommend
from headrace.jobs.streaming.covisitation import ProjectLists
from headrace.schemas import redis_keys
from headrace.udfs.covisitation.together_lists import TOUCHED, ListRules
from headrace.udfs.factors import als
from headrace.udfs.factors.live_lists import ACTIONS
from headrace.udfs.history import EVENT
from tests.edge.conftest import redis, redis_port  # noqa: F401  # fixtures
from tests.infra.versions.test_followed_rules import path, put, write  # noqa: F401  # path: a fixture
from tests.infra.versions.test_store import HOUR_MS
from tests.jobs.streaming.functions import opened
from tests.stack.running import wait

ITEMS = ["bulb", "lamp", "rug", "wick"]
AS_OF_MS = 4_000_000_000_000


@pytest.fixture(autouse=True)
def _soon(own_home: None, redis_port: int, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("HEADRACE_REDIS__PORT", str(redis_port))
    monkeypatch.setattr(obeyed_rules, "LOOK_S", 0.02)


def counted(*items: str) -> bytes:
    """Returns the packed counts of these items, the first held by most users."""
    cells = b""
    for n, item in enumerate(items):
        rest = struct.pack("<idii", 20_000, 9.0, 20_000, 9 - n)
        cells += struct.pack("<HH", len(item), len(rest)) + item.encode() + rest
    return cells


def projected(function: ProjectLists, rows: list[tuple[str, int, bytes]]) -> None:
    items, kinds, cells = map(list, zip(*rows, strict=True))
    function.eval(*(pd.Series(column) for column in (items, kinds, cells, [AS_OF_MS] * len(rows))))


def names(value: bytes | None) -> list[str]:
    return [entry["item"] for entry in json.loads(value or b'{"items": []}')["items"]]


def lists(redis: Redis) -> dict[str, list[str]]:  # noqa: F811
    keys: Any = redis.keys()
    return {key.decode(): names(redis.get(key)) for key in sorted(keys)}  # type: ignore[arg-type]


def test_lists_of_what_goes_together(redis: Redis, path: Path) -> None:  # noqa: F811
    """Blocked, out of stock, changed in mid-stream, allowed again; `new` is blocked and in no list."""
    put(path.with_name("stock.txt"), "bulb\nrug\nlamp\n")
    write(path, stock="stock.txt", items='"new", "rug"')
    made = ProjectLists(load().redis, ListRules(2, 14.0, 90, 5.0), followed_rules.of(str(path)))
    viewed, bought, trending = redis_keys.also_viewed("lamp"), redis_keys.bought_together("wick"), redis_keys.trending()
    rows = [("lamp", 0, counted("wick", "rug", "bulb", "lamp")), ("wick", 1, counted("rug", "wick"))]
    rows.append(("", TOUCHED, counted(*ITEMS)))
    with opened(pickle.loads(pickle.dumps(made))) as function:  # as it travels to the workers
        projected(function, rows)
        assert lists(redis) == {viewed: ["bulb"], trending: ["bulb", "lamp"]}
        write(path, stock="stock.txt", items='"bulb"')
        wait(lambda: lists(redis) == {trending: ["lamp"]}, 20, lambda: str(lists(redis)))
        projected(function, rows)
        assert lists(redis) == {viewed: ["rug"], trending: ["lamp", "rug"], bought: ["rug"]}
        assert redis.pexpiretime(viewed) == AS_OF_MS + redis_keys.TOGETHER_TTL_MS
        write(path)
        wait(lambda: function.follower.held.stocked is None, 20, lambda: str(function.follower.held))
        projected(function, rows)
        assert lists(redis) == {viewed: ["wick", "rug"], trending: ["bulb", "lamp"], bought: ["rug"]}


def test_lists_of_an_earlier_run_lose_what_was_blocked_meanwhile(
    redis: Redis, path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    with opened(ProjectLists(load().redis, ListRules(2, 14.0, 90, 5.0), followed_rules.of(str(path)))) as function:
        projected(function, [("", TOUCHED, counted(*ITEMS))])
    submitted = followed_rules.of(str(path))
    write(path, items='"bulb"')  # after the submission
    gone = {redis_keys.also_viewed("lamp"): ["rug"], redis_keys.trending(): ["lamp"]}
    function = ProjectLists(load().redis, ListRules(2, 14.0, 90, 5.0), submitted)
    with monkeypatch.context() as patch:
        patch.setattr(obeyed_rules, "LOOK_S", 60.0)
        with opened(function):
            projected(function, [("lamp", 0, counted("bulb", "rug", "lamp"))])
            assert lists(redis) == gone | {redis_keys.trending(): ["bulb", "lamp"]}
    with opened(function):
        wait(lambda: lists(redis) == gone, 20, lambda: str(lists(redis)))


def viewing(item: str) -> bytes:
    name = f":{item}".encode()
    return EVENT.pack(EVENT.size - 2 + len(name), 7, HOUR_MS, 1, 0, ACTIONS.index("view")) + name


def test_live_lists(redis: Redis, path: Path) -> None:  # noqa: F811
    """What the version left out stays out; what is blocked later leaves the lists that are there, night's too."""
    factors = np.eye(4, dtype=np.float32) + np.float32(0.5)
    contents = store.Contents(factors, np.eye(4), ITEMS, [("bulb", 2)], ("wick",))
    parameters = {"objective": als.ials()._asdict(), "half_life_ms": 1e9, "rating_max": 5.0}
    described = {"version": "v1", "kind": "als", "users": 4, "parameters": parameters, "lineage": {}, "metrics": {}}
    store.write(contents, created_ms=1, commit="", **described)
    store.publish("v1", 1)
    redis.set(redis_keys.recs("v1", "bob"), b'{"version":"v1","as_of_ms":1,"items":[{"item":"rug","score":1}]}')
    live = {name: redis_keys.live("v1", name) for name in ("ann", "bob")}
    rows = [pd.Series(column) for column in (["ann", "bob"], [viewing("bulb"), viewing("lamp")])]
    rows.append(pd.Series(pd.to_datetime([AS_OF_MS, AS_OF_MS], unit="ms")))
    with opened(Recommend(load().redis, 20, load().session, followed_rules.of(str(path)))) as function:
        function.eval(*rows)
        assert {name: sorted(names(redis.get(key))) for name, key in live.items()} == {  # type: ignore[arg-type]
            "ann": ["lamp", "rug"], "bob": ["bulb", "rug"],
        }  # fmt: skip
        write(path, items='"rug"')
        after = {live["ann"]: ["lamp"], live["bob"]: ["bulb"]}
        wait(lambda: lists(redis) == after, 20, lambda: str(lists(redis)))
        function.eval(*rows)
        assert lists(redis) == after
        write(path)
        wait(lambda: not function.follower.held.blocked, 20, lambda: str(function.follower.held))
        function.eval(*rows)
        assert {key: sorted(each) for key, each in lists(redis).items()} == {
            live["ann"]: ["lamp", "rug"], live["bob"]: ["bulb", "rug"],
        }  # fmt: skip
