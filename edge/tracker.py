"""The event SDK: it checks an event, gives it an id and a session, and brings it to Kafka whatever happens.

    >>> with Tracker.connect() as tracker:                                       # doctest: +SKIP
    ...     tracker.track("ann", "lamp-7", "view", category="lamps", price=19.9)
    ...     tracker.track("ann", "lamp-7", "purchase", price=19.9, quantity=2)
    '0b5c63eeb2d94c9dae6c6a1a3a2f5f0e-0'
    '0b5c63eeb2d94c9dae6c6a1a3a2f5f0e-1'

`track` returns once the event is in the spool on disk (edge/spool.py); a thread carries it on (edge/sender.py). An
absent broker does not hold up a page, nor does a dead thread, which is started again. A slow one does, once more than
`buffer_bytes` wait: then a call waits for room, for `block_s` at most. Beyond that `track` waits for the disk alone:
for the room of a new segment every 8 MiB, and with `sync` for each event. `health` says when nothing can be sent, and
why.

An event for which `track` has returned survives a SIGKILL: the next tracker on the same spool sends it, before anything
of its own. A tracker that runs takes it over within half a minute, and so does `headrace spool drain` where none will
run. Each event arrives at least once, under one event_id, in order per user. At most the window under way (256 KiB)
arrives twice, when the process or the broker was killed, or the broker did not answer in time. A power cut of this
machine loses the events that Kafka does not have yet; with `sync=True` it loses none, at the price of one fsync per
event. A disk that cannot sync is a trouble in `health` and in the log; the event was taken all the same.

A forked child may use the tracker: there it is a new one, with a spool, a thread and sessions of its own. A
`session_id` of a tracker is a label: the stream finds the sessions by itself, however many processes and devices send
a user's events.
"""

import atexit
import itertools
import math
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from headrace.edge.client_sessions import Sessions
from headrace.edge.sender import Shipper
from headrace.edge.spool import Journal, own_root
from headrace.edge.spool_line import frame
from headrace.edge.tracker_values import DEFAULT as DEFAULT
from headrace.edge.tracker_values import Counters, Health, SpoolFull
from headrace.edge.tracker_values import Limits as Limits
from headrace.schemas import topics
from headrace.udfs.contract import Contract, ContractError

AWAKE_S = 1.0  # how often a waiting caller looks after the thread


class Tracker:
    """Thread-safe. `client` is how kafka-python reaches the brokers, `spool` a folder on a local disk."""

    def __init__(
        self,
        client: dict[str, Any],
        spool: Path,
        *,
        gap_ms: int | None = 1_800_000,
        sync: bool = False,
        limits: Limits = DEFAULT,
        topic_prefix: str = "",
    ):
        """With `gap_ms=None` the tracker gives no sessions. Raises OSError if no spool can be made."""
        self._client, self._spool_root, self._gap_ms = client, spool, gap_ms
        self._topic_prefix = topic_prefix
        self._limits, self._sync = limits, sync
        self._click, self._impression = Contract.of("click"), Contract.of("impression")
        self._closed = False
        self._reset()
        self._begin()
        TRACKERS.add(self)
        atexit.register(self.close)

    def _reset(self) -> None:
        """As new, without a spool yet. In a forked child, the journal and the sender are the parent's."""
        self._lock = threading.Lock()
        self._sessions = Sessions(self._gap_ms) if self._gap_ms is not None else None
        self._id, self._count = uuid.uuid4().hex, itertools.count()
        self._rejected = 0
        self._begun = False

    def _begin(self) -> None:
        self._journal = Journal.create(self._spool_root)
        self._shipper = Shipper(self._client, self._journal, self._limits.linger_s, self.close)
        self._begun = True

    def _after_fork(self) -> None:
        if self._begun:
            self._shipper.abandon()
        self._reset()

    @classmethod
    def connect(cls, **options: Any) -> Self:
        """A tracker with the settings of this machine (infra/config/settings.toml)."""
        from headrace.infra.settings import load

        settings = load()
        of_settings: dict[str, Any] = {"gap_ms": settings.session.gap_ms, "topic_prefix": settings.kafka.prefix}
        return cls(settings.kafka.client(), own_root(), **(of_settings | options))

    def track(self, user_id: str, item_id: str, action: str, *, ts_ms: int | None = None, **fields: Any) -> str:
        """Takes an event and returns its event_id. `fields`: the optional fields of schemas/click.avsc.

        Raises ContractError if the event breaks its contract, SpoolFull if it cannot be kept, and RuntimeError if the
        tracker is closed. If it raises, the event was not taken; if it was taken, nothing is raised.
        """
        # An id is one random number per tracker and a count: urandom per event is a system call, see edge/spool.py.
        record = {
            "event_id": f"{self._id}-{next(self._count)}",
            "user_id": user_id,
            "item_id": item_id,
            "action": action,
        } | fields
        record["ts_ms"] = _now_ms() if ts_ms is None else ts_ms
        value = self._checked(self._click, record)
        has_session = fields.keys() & {"session_id", "session_position"}
        self._spool(self._topic_prefix + topics.CLICKS, value, None if has_session else (user_id, record["ts_ms"]))
        return str(record["event_id"])

    def impression(self, *, ts_ms: int | None = None, **fields: Any) -> None:
        """Takes one shown item: the fields of schemas/impression.avsc. An absent `ts_ms` is now.

        Raises what `track` raises.
        """
        value = self._checked(self._impression, fields | {"ts_ms": _now_ms() if ts_ms is None else ts_ms})
        self._spool(self._topic_prefix + topics.IMPRESSIONS, value)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Waits until every event taken so far is in Kafka. False if the timeout came first."""
        self._require_begun()
        target = self._journal.appended
        return self._wait(lambda: self._journal.sent >= target, timeout_s)

    def drain(self, timeout_s: float | None = None) -> bool:
        """Waits until the events of dead processes on this spool are in Kafka, too. False if the timeout came first."""
        self._require_begun()
        return self._wait(lambda: not self._shipper.unsent_bytes, timeout_s)

    def counters(self) -> Counters:
        self._require_begun()
        journal = self._journal
        return Counters(journal.sent, journal.appended - journal.sent, self._rejected, self._shipper.recovered)

    def health(self) -> Health:
        self._require_begun()
        shipper = self._shipper
        error = shipper.troubles.said()
        return Health(shipper.reachable, shipper.alive, shipper.unsent_bytes, shipper.unreadable, error)

    def close(self) -> None:
        """Sends what it can within `close_s`. The rest stays in the spool for the next tracker."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        if not self._begun:
            return
        self._shipper.wake()
        self._shipper.wait(lambda: not self._journal.unsent_bytes or self._shipper.failed, self._limits.close_s)
        self._shipper.stop()
        for journal in (*self._shipper.orphans, self._journal):
            journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, contract: Contract, record: dict[str, Any]) -> bytes:
        try:
            return contract.check(record)
        except ContractError:
            self._rejected += 1
            raise

    def _spool(self, topic: str, value: bytes, acted: tuple[str, int] | None = None) -> None:
        """Takes a checked record. acted: user and time of an event that gets a session from us."""
        self._require_begun()
        self._make_room()
        with self._lock:
            if self._closed:
                raise RuntimeError("the tracker is closed")
            if acted and self._sessions:
                # The session is appended to the checked bytes: a refused record must not use up a position.
                value = b'%b,"session_id":"%b","session_position":%d}' % (value[:-1], *self._sessions.next(*acted))
            try:
                self._journal.append(frame(topic, value))
            except OSError as error:
                raise SpoolFull(f"the spool {self._journal.folder} takes no more events: {error}") from error
        if self._sync:
            self._shipper.sync()
        self._shipper.wake()

    def _require_begun(self) -> None:
        """The first use in a forked child makes its spool. Raises SpoolFull."""
        if self._begun:
            return
        with self._lock:
            if not self._begun and not self._closed:
                try:
                    self._begin()
                except OSError as error:
                    raise SpoolFull(f"no spool can be made in {self._spool_root}: {error}") from error

    def _make_room(self) -> None:
        journal, shipper, limits = self._journal, self._shipper, self._limits
        if journal.unsent_bytes < limits.buffer_bytes:
            return
        shipper.wait(lambda: journal.unsent_bytes < limits.buffer_bytes or not shipper.reachable, limits.block_s)
        if journal.unsent_bytes >= limits.spool_bytes:
            raise SpoolFull(f"unsent bytes must be < spool_bytes, got {journal.unsent_bytes} >= {limits.spool_bytes}")

    def _wait(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Waits for the thread, and starts it again if it has died."""
        until_s = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while not done() and not self._closed and (left_s := until_s - time.monotonic()) > 0:
            self._shipper.wake()
            self._shipper.wait(done, min(left_s, AWAKE_S))
        return done()


TRACKERS: "weakref.WeakSet[Tracker]" = weakref.WeakSet()


def _after_fork() -> None:
    for tracker in list(TRACKERS):
        tracker._after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
