"""How a job that writes lists obeys the rules of items while it runs (infra/versions/followed_rules.py).

A thread of the worker looks at the files once a second. A function holds the rules from reading them until its lists
are in Redis, so a change comes between two batches. From the lists written before it the thread takes what is left out
now; the lists written after it never hold it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic

from pyflink.table.udf import FunctionContext
from redis.exceptions import RedisError

from headrace.infra.errors import HeadraceError, describe
from headrace.infra.settings import Redis
from headrace.infra.versions import removal
from headrace.infra.versions.followed_rules import RulesFollower
from headrace.infra.versions.rules import ItemRules
from headrace.jobs.streaming.redis_function import WritingFunction

LOOK_S = 1.0
REST = 20  # times as long as a removal took, until the next one: a stock list may change every minute


class ListingFunction(WritingFunction):
    """A function that writes lists. begins: of the keys of the lists from which it takes what is left out now."""

    def __init__(self, redis: Redis, follower: RulesFollower, begins: tuple[str, ...]) -> None:
        super().__init__(redis)
        self.follower, self.begins = follower, begins

    def open(self, context: FunctionContext) -> None:
        super().open(context)
        self.obeyed = ObeyedRules(self.redis, self.follower, self.begins)

    def close(self) -> None:
        self.obeyed.close()


class ObeyedRules:
    """The rules in force, and the thread that follows them."""

    def __init__(self, redis: Redis, follower: RulesFollower, begins: tuple[str, ...]) -> None:
        self.redis, self.follower, self.begins = redis, follower, begins
        self.lock, self.stopped, self.reported = Lock(), Event(), ""
        self._tried(follower.read)  # a job that starts again obeys what the files say by now
        Thread(target=self._follow, name="rules", daemon=True).start()

    @contextmanager
    def held(self) -> Iterator[ItemRules]:
        """The rules. They stay in force until the block ends."""
        with self.lock:
            yield self.follower.held

    def close(self) -> None:
        self.stopped.set()

    def _follow(self) -> None:
        due, not_before_s = True, 0.0  # the lists of an earlier run may hold what is left out now
        while not self.stopped.wait(LOOK_S):
            due |= self._tried(self._look)
            if due and monotonic() >= not_before_s:
                began_s = monotonic()
                due = not self._tried(self._remove)
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
        except (HeadraceError, OSError, RedisError) as error:
            if self.reported != (text := describe(error)):
                logging.getLogger(__name__).error("rules of items: %s", text)
            self.reported = text
            return False
