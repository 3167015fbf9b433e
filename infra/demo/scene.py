"""What happens in the demo: a background stream, one shopper `you`, and simulated shoppers in front of the read SDK.

Each runs in a thread of its own. The attributes hold what was seen of them so far.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

from headrace.edge import datasets, policies
from headrace.edge.recommendations import Recommendations, Shown
from headrace.edge.shoppers.closed_loop import ClosedLoop, Outcome, Rate, arms
from headrace.edge.shoppers.replay import bulk_producer
from headrace.edge.shoppers.simulator import Shop, in_real_time
from headrace.edge.tracker import Tracker
from headrace.infra.clients import kafka_topics
from headrace.infra.settings import Settings
from headrace.schemas import live_session, redis_keys
from headrace.schemas.topics import CLICKS, DEAD_LETTERS, SESSIONS
from headrace.udfs.contract import Contract

YOU = "you"
CLICKS_PER_S = 200.0
BROKEN_EVERY = 500  # one record in so many is not JSON
PROBE_EVERY_S, PROBE_STEP_S = 0.7, 0.002
PATIENCE_MS = 30_000.0  # longest wait for the answer to a click
FEATURES, LIST = "click to features", "my click changed my list"
MINE = 5  # items of the list of `you`
SLATES_PER_S = 30.0
BUCKET_S = 5.0  # of a sparkline
SEED, ITEMS, SHOPPERS = 1, 40, 600


class Scene:
    """The demo's threads, and what they saw.

    Set `lists_run` once live lists are computed, and `open` to let simulated shoppers come.
    """

    def __init__(self, settings: Settings, data: Path) -> None:
        self.settings, self.shop = settings, Shop(SEED, SHOPPERS, ITEMS)
        self.source, self._clicks = _clicks(data, self.shop)
        self.first_feature, self.lists_run, self.open = threading.Event(), threading.Event(), threading.Event()
        self.sent, self.failure = 0, list[Exception]()
        self.taken_ms: dict[str, list[float]] = {FEATURES: [], LIST: []}
        self._begun = set[str]()
        self.features: dict[str, str] = {}
        self.mine: Shown | None = None
        self.rates: dict[str, list[Rate]] = {}  # by arm, a rate each BUCKET_S
        self.best = Rate()
        self._redis, self._over = settings.redis.client(), threading.Event()
        self._tracker, self._live = Tracker.connect(), Recommendations(self._redis, sources=("live",), strict=True)
        work = (self._stream, self._probe, self._loop)
        self._threads = [threading.Thread(target=self._kept_safe, args=(each,), daemon=True) for each in work]

    def __enter__(self) -> "Scene":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._tracker.close()

    def _kept_safe(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failure.append(error)

    def _stream(self) -> None:
        topic = self.settings.kafka.name(CLICKS)
        producer, check = bulk_producer(self.settings.kafka.client(), topic), Contract.of("click").check
        for click in self._clicks:
            if self._over.is_set():
                break
            value = check(click) if self.sent % BROKEN_EVERY else b'{"event_id": broken'
            producer.send(topic, value, click["user_id"].encode())
            self.sent += 1
        producer.close()

    def _probe(self) -> None:
        """Views the first item of the list of `you`, does something with it, and waits for what that changes.

        Each item gets two events: the history of 50 never holds all items, so there is always a next one.
        """
        item = self.shop.items[0].item_id
        for action in itertools.cycle(("view", "click", "view", "like", "view", "cart", "view", "purchase")):
            if self._over.wait(PROBE_EVERY_S):
                return
            if action == "view" and self.mine and self.mine.items:
                item = self.mine.items[0].item
            sent_ms, sent_s = time.time_ns() // 1_000_000, time.perf_counter()
            self._tracker.track(YOU, item, action, price=9.5)
            self._time(sent_ms, sent_s)
            self.features = self._mine()
            if FEATURES in self._begun:
                self.first_feature.set()

    def _time(self, sent_ms: int, sent_s: float) -> None:
        """Times features and list until they are as of the click. The first of each, slowed by starts, is left out."""
        asked = {FEATURES: self._features_as_of} | ({LIST: self._list_as_of} if self.lists_run.is_set() else {})
        while asked and not self._over.wait(PROBE_STEP_S):
            took_ms = 1000 * (time.perf_counter() - sent_s)
            for name, as_of in list(asked.items()):
                came = as_of() >= sent_ms
                if came or took_ms > PATIENCE_MS:
                    del asked[name]
                    self.taken_ms[name] += [took_ms] if name in self._begun else []
                    self._begun |= {name} if came else set()

    def _mine(self) -> dict[str, Any]:
        value: Any = self._redis.get(redis_keys.session(YOU))
        return live_session.decode(value)

    def _features_as_of(self) -> int:
        return int(self._mine().get("as_of_ms", 0))

    def _list_as_of(self) -> int:
        self.mine = self._live.for_user(YOU, MINE)
        return self.mine.as_of_ms

    def _loop(self) -> None:
        """Lets simulated shoppers come. They are new in each run; what earlier runs learned about items is kept."""
        while not self.open.wait(0.1):
            if self._over.is_set():
                return
        rules = self.settings.bandit
        options = {"encoder": policies.encoder(rules)}
        ways = arms(self.shop, self._redis, self._tracker, policies.chooser(rules), **options)
        self.rates = {name: [Rate()] for name in ways}
        loop = ClosedLoop(self.shop, ways, self._tracker, seed=time.time_ns(), prefix=f"{time.time_ns():x}-")
        began_s = time.monotonic()
        for n in itertools.count():
            if self._over.wait(max(0.0, began_s + n / SLATES_PER_S - time.monotonic())):
                return
            self._count(loop.step(), int((time.monotonic() - began_s) / BUCKET_S))

    def _count(self, outcome: Outcome, bucket: int) -> None:
        for rates in self.rates.values():
            rates.extend([Rate()] * (bucket + 1 - len(rates)))
        rates = self.rates[outcome.arm]
        rates[-1] = rates[-1].seen(outcome.rate)
        self.best = self.best.seen(outcome.best)

    def numbers(self) -> dict[str, Any]:
        sizes = kafka_topics.sizes(self.settings.kafka)
        return {
            "clicks sent": self.sent,
            "keys in Redis": self._redis.dbsize(),
            "closed sessions": sizes[SESSIONS],
            "dead letters": sizes[DEAD_LETTERS],
        }

    def latencies(self) -> dict[str, str]:
        return {name: _percentiles(taken_ms) for name, taken_ms in self.taken_ms.items()}


def _percentiles(taken_ms: list[float]) -> str:
    if len(taken_ms) < 2:
        return "not yet"
    cuts = quantiles(taken_ms, n=100, method="inclusive")
    return f"in {cuts[49]:,.0f} ms (p50), {cuts[98]:,.0f} ms (p99) of {len(taken_ms)} clicks"


def _clicks(data: Path, shop: Shop) -> tuple[str, Iterator[dict[str, Any]]]:
    try:
        clicks = datasets.open_dataset("online-retail", data)
    except (FileNotFoundError, datasets.DatasetError) as error:
        return f"simulated shoppers, since Online Retail is not here ({error})", in_real_time(shop, CLICKS_PER_S)
    return "Online Retail, its clicks in their order", _fresh(clicks)


def _fresh(clicks: datasets.Clicks) -> Iterator[dict[str, Any]]:
    """Yields the clicks at a steady pace, as of now, with ids of this run: a second demo's clicks are no repeats."""
    run, began_s = f"{time.time_ns():x}", time.time()
    for n, click in enumerate(clicks):
        due_s = began_s + n / CLICKS_PER_S
        time.sleep(max(0.0, due_s - time.time()))
        yield click | {"event_id": f"{run}:{click['event_id']}", "ts_ms": int(1000 * due_s)}
