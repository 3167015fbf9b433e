"""`headrace demo`: real clicks through the real stack, and one shopper's features changing with every click.

Streams Online Retail where its file is found, else simulated shoppers; now and then a broken record, to show where
those go. Beside them one shopper, `you`, clicks through the tracker, and each click is timed until Redis shows it.
"""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from edge import datasets
from edge.replay import bulk_producer
from edge.simulator import Shop, in_real_time
from edge.tracker import Tracker
from infra import flink, topics
from infra.errors import HeadraceError
from infra.settings import Settings, load
from infra.stack import lifecycle
from infra.submission import Submission, submit
from schemas import redis_keys
from schemas.topics import CLICKS, DEAD_LETTERS, SESSIONS
from udfs.contract import Contract

JOB = "session_features"
YOU = "you"
CLICKS_PER_S = 200.0
BROKEN_EVERY = 500  # one record in so many is not JSON
PROBE_EVERY_S = 0.7
PLAIN_SECONDS = 20.0
FIRST_FEATURE_S = 120
SHOWN = ("events", "page_views", "interactions", "conversions", "distinct_items", "spend", "duration_h", "recent_items")


def demo(console: Console, seconds: float | None, data: Path) -> None:
    """Ends after `seconds`, or by itself without a terminal, or by Ctrl-C; the stack stays up."""
    began_s = time.monotonic()
    lifecycle.up(console)
    settings = load()
    if not flink.alive(settings.flink, JOB):
        with console.status(f"submitting {JOB}"):
            submit(settings, Submission(JOB))
    console.print(f"  {'job':<12} {time.monotonic() - began_s:5.1f} s  {JOB} runs")
    scene = Scene(settings, data)
    _say(console, f"streaming {scene.source}, {CLICKS_PER_S:.0f} a second, one in {BROKEN_EVERY} broken on purpose")
    with scene:
        if not scene.first_feature.wait(FIRST_FEATURE_S):
            why = flink.last_failure(settings.flink, flink.named(settings.flink, JOB))
            raise HeadraceError(
                f"no feature in Redis after {FIRST_FEATURE_S} s: {why or 'see `headrace logs taskmanager`'}"
            )
        _say(console, f"  {'feature':<12} {time.monotonic() - began_s:5.1f} s  the first one is in Redis")
        _show(console, scene, seconds)
    _say_goodbye(console, settings)


class Scene:
    """The streams, and what was seen of them so far."""

    def __init__(self, settings: Settings, data: Path) -> None:
        self.settings, self.redis = settings, settings.redis.client(decode_responses=True)
        self.source, self._clicks = _clicks(data)
        self.first_feature, self._over = threading.Event(), threading.Event()
        self.sent, self.latencies_ms = 0, list[float]()
        self.features: dict[str, str] = {}
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._stream, self._probe)]

    def __enter__(self) -> "Scene":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def _stream(self) -> None:
        producer, check = bulk_producer(self.settings.kafka.client()), Contract.of("click").check
        for click in self._clicks:
            if self._over.is_set():
                break
            value = check(click) if self.sent % BROKEN_EVERY else b'{"event_id": broken'
            producer.send(CLICKS, value, click["user_id"].encode())
            self.sent += 1
        producer.close()

    def _probe(self) -> None:
        key, items = redis_keys.session(YOU), itertools.cycle(f"item-{n}" for n in range(7))
        actions = itertools.cycle(("view", "view", "click", "view", "like", "view", "purchase"))
        with Tracker.connect() as tracker:
            while not self._over.wait(PROBE_EVERY_S):
                before, sent_s = self.redis.hget(key, "events"), time.perf_counter()
                action = next(actions)
                tracker.track(YOU, next(items), action, price=9.5)
                while self.redis.hget(key, "events") == before and not self._over.is_set():
                    time.sleep(0.001)
                if self.first_feature.is_set():  # the first click also waits for the job's workers to start
                    self.latencies_ms.append(1000 * (time.perf_counter() - sent_s))
                self.features = dict(self.redis.hgetall(key))  # type: ignore[arg-type]
                self.first_feature.set()

    def numbers(self) -> dict[str, Any]:
        sizes = topics.sizes(self.settings.kafka)
        cuts = quantiles(self.latencies_ms, n=100) if len(self.latencies_ms) > 1 else [0.0] * 99
        return {
            "clicks sent": self.sent,
            "live sessions in Redis": self.redis.dbsize(),
            "closed sessions": sizes[SESSIONS],
            "dead letters": sizes[DEAD_LETTERS],
            "click to Redis, p50 ms": round(cuts[49], 1),
            "click to Redis, p99 ms": round(cuts[98], 1),
        }


def _clicks(data: Path) -> tuple[str, Iterator[dict[str, Any]]]:
    try:
        clicks = datasets.open_dataset("online-retail", data)
    except (FileNotFoundError, datasets.DatasetError):
        return "simulated shoppers", in_real_time(Shop(seed=int(time.time())), CLICKS_PER_S)
    return "Online Retail, its clicks in their order", _fresh(clicks)


def _fresh(clicks: datasets.Clicks) -> Iterator[dict[str, Any]]:
    """The clicks at a steady pace, happening now, with ids of this run: a second demo's clicks are no repeats."""
    run, began_s = f"{time.time_ns():x}", time.time()
    for n, click in enumerate(clicks):
        due_s = began_s + n / CLICKS_PER_S
        time.sleep(max(0.0, due_s - time.time()))
        yield click | {"event_id": f"{run}:{click['event_id']}", "ts_ms": int(1000 * due_s)}


def _show(console: Console, scene: Scene, seconds: float | None) -> None:
    if seconds is None and not console.is_terminal:
        seconds = PLAIN_SECONDS
    end_s = time.monotonic() + (seconds or float("inf"))
    plain = not console.is_terminal or "DEMO_SECONDS" in os.environ
    with Live(console=console, refresh_per_second=4, auto_refresh=False) if not plain else nullcontext() as live:
        sent, at_s = scene.sent, time.monotonic()
        try:
            while time.monotonic() < end_s:
                time.sleep(min(2.0 if plain else 0.5, max(0.0, end_s - time.monotonic())))
                rate = (scene.sent - sent) / (time.monotonic() - at_s)
                sent, at_s = scene.sent, time.monotonic()
                numbers = {"clicks/s": round(rate)} | scene.numbers()
                if live is None:
                    _say(console, ", ".join(f"{name} {value:,}" for name, value in numbers.items()))
                    _say(console, "  " + ", ".join(f"{name} {scene.features.get(name)}" for name in SHOWN))
                else:
                    live.update(_view(numbers, scene.features), refresh=True)
        except KeyboardInterrupt:
            pass


def _view(numbers: dict[str, Any], features: dict[str, str]) -> Group:
    stream, you = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for name, value in numbers.items():
        stream.add_row(name, f"{value:,}")
    for name in SHOWN:
        you.add_row(name, features.get(name, ""))
    return Group(Panel(stream, title="the stream"), Panel(you, title=redis_keys.session(YOU)))


def _say_goodbye(console: Console, settings: Settings) -> None:
    redis = settings.redis
    for line in (
        "",
        "The stack is still up. Look around:",
        f"  redis-cli -h {redis.host} -p {redis.port} HGETALL {redis_keys.session(YOU)}",
        f"  http://{settings.flink.rest}          Flink's UI",
        "  headrace deadletters             what was refused, and why",
        "  headrace status                  every address, port, pid and job",
        "  make down                        ends it",
    ):
        _say(console, line)


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
