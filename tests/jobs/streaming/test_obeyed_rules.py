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
from headrace.infra.versions import factor_version, followed_rules, store
from headrace.infra.versions.factor_version import FactorContents
from headrace.infra.versions.rules import ItemRules
from headrace.jobs.streaming import obeyed_rules
from headrace.jobs.streaming.collaborative import Recommend, Version
from headrace.jobs.streaming.covisitation import ProjectLists
from headrace.schemas import redis_keys
from headrace.udfs.covisitation.together_lists import TOUCHED
from headrace.udfs.factors import als
from headrace.udfs.history import EVENT
from headrace.udfs.recommenders.live_lists import ACTIONS
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


def scored(*items: str) -> bytes:
    """Returns the packed scores of these items, the first one's the highest."""
    return b"".join(struct.pack("<dH", 9.0 - n, len(item)) + item.encode() for n, item in enumerate(items))


def projected(redis: Redis, function: ProjectLists, rows: list[tuple[str, int, bytes]]) -> None:  # noqa: F811
    items, kinds, scores = map(list, zip(*rows, strict=True))
    columns = map(pd.Series, (items, kinds, scores, [1.0] * len(rows), [AS_OF_MS] * len(rows)))
    written(redis, function.eval(*columns))


def names(value: bytes | None) -> list[str]:
    return [entry["item"] for entry in json.loads(value or b'{"items": []}')["items"]]


def lists(redis: Redis) -> dict[str, list[str]]:  # noqa: F811
    keys: Any = redis.keys()
    return {key.decode(): names(redis.get(key)) for key in sorted(keys)}  # type: ignore[arg-type]


def test_lists_of_what_goes_together(redis: Redis, path: Path) -> None:  # noqa: F811
    """Blocked, out of stock, changed in mid-stream, allowed again; `new` is blocked and in no list."""
    put(path.with_name("stock.txt"), "bulb\nrug\nlamp\n")
    write(path, stock="stock.txt", items='"new", "rug"')
    made = ProjectLists(load().redis, 2, followed_rules.of(str(path)))
    viewed, bought, trending = redis_keys.also_viewed("lamp"), redis_keys.bought_together("wick"), redis_keys.trending()
    rows = [("lamp", 0, scored("wick", "rug", "bulb")), ("wick", 1, scored("rug"))]
    rows.append(("", TOUCHED, scored(*ITEMS)))
    with opened(pickle.loads(pickle.dumps(made))) as function:  # as it travels to the workers
        projected(redis, function, rows)
        assert lists(redis) == {viewed: ["bulb"], trending: ["bulb", "lamp"]}
        write(path, stock="stock.txt", items='"bulb"')
        wait(lambda: lists(redis) == {trending: ["lamp"]}, 20, lambda: str(lists(redis)))
        projected(redis, function, rows)
        assert lists(redis) == {viewed: ["rug"], trending: ["lamp", "rug"], bought: ["rug"]}
        assert redis.pexpiretime(viewed) == AS_OF_MS + redis_keys.TOGETHER_TTL_MS
        write(path)
        wait(lambda: function.follower.held.stocked is None, 20, lambda: str(function.follower.held))
        projected(redis, function, rows)
        assert lists(redis) == {viewed: ["wick", "rug"], trending: ["bulb", "lamp"], bought: ["rug"]}


def test_lists_of_an_earlier_run_lose_what_was_blocked_meanwhile(
    redis: Redis, path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    with opened(ProjectLists(load().redis, 2, followed_rules.of(str(path)))) as function:
        projected(redis, function, [("", TOUCHED, scored(*ITEMS))])
    submitted = followed_rules.of(str(path))
    write(path, items='"bulb"')  # after the submission
    gone = {redis_keys.also_viewed("lamp"): ["rug"], redis_keys.trending(): ["lamp"]}
    function = ProjectLists(load().redis, 2, submitted)
    with monkeypatch.context() as patch:
        patch.setattr(obeyed_rules, "LOOK_S", 60.0)
        with opened(function):
            projected(redis, function, [("lamp", 0, scored("bulb", "rug"))])
            assert lists(redis) == gone | {redis_keys.trending(): ["bulb", "lamp"]}
    with opened(function):
        wait(lambda: lists(redis) == gone, 20, lambda: str(lists(redis)))


def written(redis: Redis, rows: pd.DataFrame) -> None:  # noqa: F811
    """Does with the rows of a function what the connector does with them."""
    for key, value, expire_at_ms in zip(rows["key"], rows["value"], rows["expire_at_ms"], strict=True):
        if key is not None and value is None:
            redis.unlink(key)
        elif key is not None:
            redis.set(key, value, pxat=expire_at_ms)


def publish(version: str, **changes: Any) -> None:
    """Publishes a version of four items, of which wick is left out. changes: of its manifest."""
    factors = np.eye(4, dtype=np.float32) + np.float32(0.5)
    contents = FactorContents(factors, np.eye(4), ITEMS, [("bulb", 2)], ("wick",))
    parameters = {"objective": als.ials()._asdict(), "half_life_ms": 1e9, "rating_max": 5.0}
    described = {"kind": "als", "users": 4, "parameters": parameters, "lineage": {}}
    factor_version.write(contents, 1, {}, version, **(described | changes))
    store.publish(version, 1)


def served(version: Version) -> str:
    serving = version.serving(ItemRules())
    return serving.version if serving else ""


def viewing(item: str) -> bytes:
    name = f":{item}".encode()
    return EVENT.pack(EVENT.size - 2 + len(name), 7, HOUR_MS, 1, 0, ACTIONS.index("view")) + name


def test_live_lists(redis: Redis, path: Path) -> None:  # noqa: F811
    """What the version left out stays out; what is blocked later leaves the lists that are there, night's too."""
    publish("v1")
    redis.set(redis_keys.recs("v1", "bob"), b'{"version":"v1","as_of_ms":1,"items":[{"item":"rug","score":1}]}')
    live = {name: redis_keys.live("v1", name) for name in ("ann", "bob")}
    rows = [pd.Series(column) for column in (["ann", "bob"], [viewing("bulb"), viewing("lamp")], [AS_OF_MS] * 2)]
    with opened(Recommend(load().redis, 20, followed_rules.of(str(path)))) as function:
        written(redis, function.eval(*rows))
        assert {name: sorted(names(redis.get(key))) for name, key in live.items()} == {  # type: ignore[arg-type]
            "ann": ["lamp", "rug"], "bob": ["bulb", "rug"],
        }  # fmt: skip
        write(path, items='"rug"')
        after = {live["ann"]: ["lamp"], live["bob"]: ["bulb"]}
        wait(lambda: lists(redis) == after, 20, lambda: str(lists(redis)))
        written(redis, function.eval(*rows))
        assert lists(redis) == after
        write(path)
        wait(lambda: not function.follower.held.blocked, 20, lambda: str(function.follower.held))
        written(redis, function.eval(*rows))
        assert {key: sorted(each) for key, each in lists(redis).items()} == {
            live["ann"]: ["lamp", "rug"], live["bob"]: ["bulb", "rug"],
        }  # fmt: skip


def test_a_list_that_was_under_way_loses_what_was_blocked_meanwhile(
    redis: Redis, path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """It was made before the change, and is written after the first removal."""
    monkeypatch.setattr(obeyed_rules, "REST", 0)
    version_key = redis_keys.live("v1", "ann")
    with opened(Recommend(load().redis, 20, followed_rules.of(str(path)))) as function:
        write(path, items='"rug"')
        wait(lambda: bool(function.follower.held.blocked), 20, lambda: str(function.follower.held))
        redis.set(version_key, b'{"version":"v1","as_of_ms":1,"items":[{"item":"rug","score":1}]}')
        wait(lambda: not redis.exists(version_key), 20, lambda: str(lists(redis)))


def test_a_new_version_serves_once_it_is_ready(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Whatever is in the files of a version that does not load, the one before it serves on."""
    monkeypatch.setattr(Version, "LOOK_S", 0.02)
    version, rules = Version(), followed_rules.of(str(path)).held
    assert version.serving(rules) is None
    publish("v1")
    wait(lambda: version.serving(rules) is not None, 20, lambda: "no version")
    publish("v2")
    wait(lambda: served(version) == "v2", 20, lambda: served(version))
    publish("v3", parameters={"nothing": "that is needed"})
    wait(lambda: "must have an objective" in version.reported, 20, lambda: version.reported)
    assert served(version) == "v2"
    publish("v4")
    wait(lambda: served(version) == "v4", 20, lambda: served(version))
    monkeypatch.setattr(Version, "PATIENCE_S", 20)
    for number in range(5, 9):
        publish(f"v{number}")
        assert served(version) == f"v{number}"  # at once: the pointer has moved
    version.close()
