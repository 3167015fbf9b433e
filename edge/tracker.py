"""The event SDK: it checks an event, gives it an id and a session, and brings it to Kafka whatever happens.

    >>> with Tracker.connect() as tracker:                                       # doctest: +SKIP
    ...     tracker.track("ann", "lamp-7", "view", category="lamps", price=19.9)
    ...     tracker.track("ann", "lamp-7", "purchase", price=19.9, quantity=2)
    '0b5c63eeb2d94c9dae6c6a1a3a2f5f0e-0'
    '0b5c63eeb2d94c9dae6c6a1a3a2f5f0e-1'

`track` returns once the event is in the spool on disk (edge/spool.py); a thread carries it on (edge/sender.py). So a
slow or absent broker does not hold up a page. An event for which `track` has returned survives a SIGKILL: the next
tracker on the same spool sends it, before anything of its own. Each event arrives at least once, under one event_id, in
order per user. At most the window under way (256 KiB) arrives twice, when the process or the broker was killed. A power
cut of this machine loses the events that Kafka does not have yet; with `sync=True` it loses none, at the price of one
fsync per event.

Make the tracker after forking. One user's events should come from one process; otherwise pass `session_id` yourself.
"""

import atexit
import itertools
import os
import threading
import time
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple, Self

from headrace.edge.sender import Shipper, frame
from headrace.edge.spool import Journal
from headrace.schemas import topics
from headrace.udfs.contract import Contract, ContractError


class Limits(NamedTuple):
    linger_s: float = 0.005  # the sender waits so long for more events
    buffer_bytes: int = 8 << 20  # with more unsent bytes, and Kafka answering, track() waits ...
    block_s: float = 1.0  # ... this long at most, then spools on
    spool_bytes: int = 4 << 30  # with more unsent bytes, track() raises SpoolFull
    close_s: float = 10.0  # close() waits this long for Kafka; the rest stays in the spool


DEFAULT = Limits()


class SpoolFull(OSError):
    """The event was not accepted: Kafka has been away for too long."""


class Counters(NamedTuple):
    sent: int  # events of this process that are in Kafka
    spooled: int  # events of this process that are in the spool alone
    rejected: int  # records that broke the contract
    recovered: int  # events of earlier processes that are in Kafka now


class Sessions:
    """The running session of each user."""

    REMEMBERED = 500_000  # users, some 150 MB; the user who was silent for longest is forgotten first

    def __init__(self, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._users: OrderedDict[str, tuple[bytes, int, int]] = OrderedDict()

    def next(self, user_id: str, ts_ms: int) -> tuple[bytes, int]:
        """(session_id, position) of the user's next event. A new session begins after a gap."""
        session_id, position, last_ms = self._users.pop(user_id, (b"", 0, 0))
        if not session_id or ts_ms - last_ms > self._gap_ms:
            session_id, position, last_ms = uuid.uuid4().hex.encode(), 0, ts_ms
        self._users[user_id] = session_id, position + 1, max(last_ms, ts_ms)
        if len(self._users) > self.REMEMBERED:
            self._users.popitem(last=False)
        return session_id, position


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
    ):
        """With `gap_ms=None` the tracker gives no sessions."""
        self._limits, self._sync, self._pid = limits, sync, os.getpid()
        self._sessions = Sessions(gap_ms) if gap_ms is not None else None
        self._click, self._impression = Contract.of("click"), Contract.of("impression")
        self._id, self._count = uuid.uuid4().hex, itertools.count()
        self._rejected = 0
        self._closed = False
        self._lock = threading.Lock()
        self._orphans = Journal.orphans(spool)
        self._journal = Journal.create(spool)
        self._shipper = Shipper(client, [*self._orphans, self._journal], limits.linger_s, self.close)
        self._shipper.start()
        atexit.register(self.close)

    @classmethod
    def connect(cls, **options: Any) -> Self:
        """A tracker with the settings of this machine (infra/config/settings.toml)."""
        from headrace.infra import paths
        from headrace.infra.settings import load

        settings = load()
        return cls(settings.kafka.client(), paths.home() / "spool", **({"gap_ms": settings.session.gap_ms} | options))

    def track(self, user_id: str, item_id: str, action: str, *, ts_ms: int | None = None, **fields: Any) -> str:
        """Takes an event and returns its event_id. `fields`: the optional fields of schemas/click.avsc.

        Raises ContractError if the event breaks its contract, SpoolFull if Kafka has been away for too long, and
        RuntimeError if the tracker is closed.
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
        self._spool(topics.CLICKS, value, None if has_session else (user_id, record["ts_ms"]))
        return str(record["event_id"])

    def impression(self, *, ts_ms: int | None = None, **fields: Any) -> None:
        """Takes one shown item: the fields of schemas/impression.avsc. An absent `ts_ms` is now.

        Raises what `track` raises.
        """
        value = self._checked(self._impression, fields | {"ts_ms": _now_ms() if ts_ms is None else ts_ms})
        self._spool(topics.IMPRESSIONS, value)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Waits until every event taken so far is in Kafka. False if the timeout came first."""
        target = self._journal.appended
        return self._shipper.wait(lambda: self._journal.sent >= target, timeout_s)

    def counters(self) -> Counters:
        journal = self._journal
        recovered = sum(orphan.sent for orphan in self._orphans)
        return Counters(journal.sent, journal.appended - journal.sent, self._rejected, recovered)

    def close(self) -> None:
        """Sends what it can within `close_s`. The rest stays in the spool for the next tracker."""
        with self._lock:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._shipper.wait(lambda: not self._journal.unsent_bytes or not self._shipper.reachable, self._limits.close_s)
        self._shipper.stop()
        for journal in (*self._orphans, self._journal):
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
        self._make_room()
        with self._lock:
            if self._closed or os.getpid() != self._pid:
                raise RuntimeError("the tracker is closed" if self._closed else "the tracker was made before a fork")
            if acted and self._sessions:
                # The session is appended to the checked bytes: a refused record must not use up a position.
                value = b'%b,"session_id":"%b","session_position":%d}' % (value[:-1], *self._sessions.next(*acted))
            self._journal.append(frame(topic, value))
            if self._sync:
                self._journal.sync()
        self._shipper.wake()

    def _make_room(self) -> None:
        journal, shipper, limits = self._journal, self._shipper, self._limits
        if journal.unsent_bytes < limits.buffer_bytes:
            return
        shipper.wait(lambda: journal.unsent_bytes < limits.buffer_bytes or not shipper.reachable, limits.block_s)
        if journal.unsent_bytes >= limits.spool_bytes:
            raise SpoolFull(f"unsent bytes must be < spool_bytes, got {journal.unsent_bytes} >= {limits.spool_bytes}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
