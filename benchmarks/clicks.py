"""The clicks that every system reads: real ones if the data are there, else simulated; and marks among them.

The marks are clicks of users of their own, spread evenly. The number of them in Redis shows how far a system has come,
in the same way for every system and from outside.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks import stack
from benchmarks.harness import console
from benchmarks.peers import environment
from headrace.edge import datasets
from headrace.edge.shoppers.simulator import Shop
from headrace.infra import paths
from headrace.schemas import redis_keys
from headrace.udfs.contract import Contract, ContractError

MARKS = 320
MARK_KEYS = [redis_keys.session(f"~mark-{index}") for index in range(MARKS)]
DATA = Path(os.environ.get("HEADRACE_DATA", paths.PACKAGE.parent / "shared" / "data"))
PREFERRED = ("yoochoose", "online-retail")
SHOPPERS, FIRST_MS, SHOP_CLICKS_PER_S = 100_000, 1_700_000_000_000, 100.0  # of the simulation


class Source(NamedTuple):
    name: str
    title: str
    clicks: Iterable[dict[str, Any]]


def source() -> Source:
    for name in PREFERRED:
        try:
            return Source(name, datasets.DATASETS[name].title, datasets.open_dataset(name, DATA))
        except FileNotFoundError:
            continue
    return Source("simulated", "simulated shoppers", Shop(seed=1, users=SHOPPERS).clicks(FIRST_MS, SHOP_CLICKS_PER_S))


def path(events: int) -> Path:
    """A file of so many clicks, made when first asked for: user_id, tab, JSON."""
    made = source()
    file = stack.HOME / f"{made.name}-{events}.tsv"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with console.status(f"making {file.name}"), file.with_suffix(".part").open("wb") as out:
            out.writelines(map(line, marked(islice(sound(made.clicks), events), events)))
        file.with_suffix(".part").rename(file)
    return file


def line(click: dict[str, Any]) -> bytes:
    return b"%b\t%b\n" % (click["user_id"].encode(), msgspec.json.encode(click))


def sound(clicks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those that keep the contract: a few of Online Retail do not, and a dead letter never comes out."""
    contract = Contract.of("click")
    for click in clicks:
        with suppress(ContractError):
            contract.check(click)
            yield click


def marked(clicks: Iterable[dict[str, Any]], events: int) -> Iterator[dict[str, Any]]:
    passed = 0
    for index, click in enumerate(clicks, 1):
        yield click
        if index * MARKS >= (passed + 1) * events:
            mark = {"event_id": f"mark-{passed}", "user_id": f"~mark-{passed}", "item_id": "mark"}
            yield mark | {"action": "view", "ts_ms": click["ts_ms"]}
            passed += 1
    if passed < MARKS:
        raise ValueError(f"events must be <= the clicks of the data set, got {events:,}")


def load(events: int) -> None:
    """Fill the empty topic, as fast as it goes."""
    process = environment.start("load", path(events))
    with console.status(f"sending {events:,} clicks to Kafka"):
        if process.wait():
            raise RuntimeError(f"the load ended with {process.returncode}: see {paths.logs()}/load.log")


@contextmanager
def sending(events: int, clicks_per_s: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Clicks at a steady rate by a process of its own; they must last as long as they are needed."""
    file = path(events)
    process = environment.start("load", file, clicks_per_s)
    try:
        yield process
        if process.poll() is not None:
            raise RuntimeError(f"the load ended early, with {process.returncode}: see {paths.logs()}/load.log")
    finally:
        process.terminate()
        process.wait()
