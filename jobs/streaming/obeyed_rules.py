"""How a job that writes lists obeys the rules of items while it runs (infra/versions/followed_rules.py).

A thread of the worker looks at the files once a second. A list obeys the rules that are in force when it is made. From
the lists that Redis has by then the thread takes what is left out now: at once, and again until those lists that were
under way have arrived.
"""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic

import pandas as pd
from pyflink.table.udf import FunctionContext, ScalarFunction

from headrace.infra.errors import describe
from headrace.infra.settings import Redis
from headrace.infra.versions import removal
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.infra.versions.rules import ItemRules
from headrace.jobs.streaming import redis_tables
from headrace.jobs.streaming.isolation import isolated, rows

Make = Callable[..., pd.DataFrame]
LOOK_S = 1.0
ARRIVAL_S = 10.0  # a list is this long under way at most, if Redis is there
REST = 20  # times as long as a removal took, until the next one: a stock list may change every minute


class ListingFunction(ScalarFunction):  # type: ignore[misc]
    """A function that makes lists, as rows of redis_tables.STRINGS.

    begins: of the keys of the lists from which it takes what is left out now; took: the name of its metric of time.
    """

    def __init__(self, redis: Redis, follower: RulesFollower, begins: tuple[str, ...], took: str) -> None:
        self.redis, self.follower, self.begins, self.took = redis, follower, begins, took

    def is_deterministic(self) -> bool:
        return False  # versions and rules change, so the planner may not call it twice for one row

    def open(self, context: FunctionContext) -> None:
        self.obeyed = ObeyedRules(self.redis, self.follower, self.begins)
        metrics = context.get_metric_group()
        self.made, self.failed = metrics.counter("lists"), metrics.counter("failed")
        self.took_ms = metrics.distribution(self.took)

    def close(self) -> None:
        self.obeyed.close()

    def of_newest(self, newest: pd.Series, make: Make, *columns: pd.Series) -> pd.DataFrame:
        """Returns what `make` makes of the newest rows; nothing for the other rows, and for one on which it fails."""
        began_s = monotonic()
        lists = isolated(make, tuple(column[newest] for column in columns), self.failed)
        self.took_ms.update(int(1000 * (monotonic() - began_s)))
        return rows(lists, redis_tables.NAMES, newest.index)

    def listed(self, keys: list[str], values: list[bytes | None], as_of_ms: pd.Series, ttl_ms: int) -> pd.DataFrame:
        self.made.inc(len(keys))
        columns = {"key": keys, "value": values, "expire_at_ms": as_of_ms + ttl_ms, "as_of_ms": as_of_ms}
        return pd.DataFrame(columns, index=as_of_ms.index)


class ObeyedRules:
    """The rules in force, and the thread that follows them."""

    def __init__(self, redis: Redis, follower: RulesFollower, begins: tuple[str, ...]) -> None:
        self.redis, self.follower, self.begins = redis, follower, begins
        self.lock, self.stopped, self.reported = Lock(), Event(), ""
        self._tried(follower.read)  # a job that starts again obeys what the files say by now
        Thread(target=self._follow, name="rules", daemon=True).start()

    def rules(self) -> ItemRules:
        with self.lock:
            return self.follower.held

    def close(self) -> None:
        self.stopped.set()

    def _follow(self) -> None:
        due, changed_s, not_before_s = True, monotonic(), 0.0  # lists of an earlier run may hold what is left out now
        while not self.stopped.wait(LOOK_S):
            if self._tried(self._look):
                due, changed_s = True, monotonic()
            if due and monotonic() >= not_before_s:
                began_s = monotonic()
                if not self._tried(self._remove):  # while Redis is away, lists wait longer on their way
                    changed_s = monotonic()
                due = began_s < changed_s + ARRIVAL_S
                not_before_s = monotonic() + REST * (monotonic() - began_s)

    def _look(self) -> bool:
        with self.lock:
            return self.follower.look()

    def _remove(self) -> bool:
        if self.follower.held != ItemRules():
            with self.redis.client() as client:
                removal.remove(client, self.begins, self.follower.held)
        return True

    def _tried(self, act: Callable[[], bool]) -> bool:
        """Returns what it returns; False if it fails, and reports that once."""
        try:
            return act()
        except Exception as error:  # whatever a file or a Redis does, the thread looks again
            if self.reported != (text := describe(error)):
                logging.getLogger(__name__).error("rules of items: %s", text)
            self.reported = text
            return False
