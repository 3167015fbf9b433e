"""The thread that carries spooled events to Kafka, in order, for as long as it takes.

One window of the spool is under way at a time. Each partition's share of it is exactly one Kafka batch, sent only by
`flush`. So an event never overtakes an earlier one of its user, whatever fails: a batch fails as a whole, and nothing
after it has left yet. To wait for each window costs nothing at full speed (40 k events/s, as when pipelined, because
the Python client is the slow part), while kafka-python's default batches of 16 KiB cost 40 %. There is no compression:
on one machine gzip costs 20 % and lz4 gains nothing.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from headrace.edge.producer import connect
from headrace.edge.spool import Journal

log = logging.getLogger(__name__)

WINDOW_BYTES = 256 << 10
BATCH_BYTES = 1 << 20  # holds a whole window with its keys
PRODUCER: dict[str, Any] = {
    "enable_idempotence": True,
    "acks": "all",
    "batch_size": BATCH_BYTES,
    "max_request_size": BATCH_BYTES,
    "linger_ms": 10_000,  # longer than filling a window takes: only flush() sends
    "request_timeout_ms": 5_000,
    "delivery_timeout_ms": 20_000,
    "bootstrap_timeout_ms": 3_000,
    "max_block_ms": 3_000,
    "reconnect_backoff_max_ms": 500,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}
PATIENCE_S = 30  # for one window; the client itself gives up after delivery_timeout_ms, unless it is stuck
ANSWER_S = 1.0  # without an answer for this long the broker counts as away
RETRY_S = 0.5
CLOSE_S = 5


class Message(NamedTuple):
    topic: str
    key: bytes
    value: bytes


class _Key(msgspec.Struct):
    user_id: str


_key = msgspec.json.Decoder(_Key).decode


def frame(topic: str, value: bytes) -> bytes:
    """A line of the spool. It can be read again, since JSON holds no raw newline and a topic's name no space."""
    return b"%b %b" % (topic.encode(), value)


def message(line: bytes) -> Message:
    """Reads a line of the spool. Raises DecodeError or UnicodeDecodeError if it is damaged.

    The key is read from the value: as a field of its own in the line it would cost as much (0.6 us).
    """
    topic, _, value = line.partition(b" ")
    return Message(topic.decode(), _key(value).user_id.encode(), value)


class Shipper(threading.Thread):
    """Sends the journals of dead processes first, then this process's own until it is stopped."""

    def __init__(self, client: dict[str, Any], journals: list[Journal], linger_s: float, on_exit: Callable[[], None]):
        super().__init__(name="headrace-shipper", daemon=True)
        self.reachable = True  # until an attempt fails
        self.unreadable = 0  # lines that a power cut has damaged
        self._config, self._linger_s, self._on_exit = PRODUCER | client, linger_s, on_exit
        *self._orphans, self._own = journals
        self._progress, self._work, self._stopping = threading.Condition(), threading.Event(), threading.Event()
        self._producer: KafkaProducer | None = None

    def wake(self) -> None:
        if not self._work.is_set():  # set() takes a lock, is_set() none
            self._work.set()

    def wait(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Waits until `done`, which is asked again after each window. False if the timeout came first."""
        with self._progress:
            return self._progress.wait_for(done, timeout_s)

    def stop(self) -> None:
        """Ends the thread after the window under way, or within a few seconds if the broker is away."""
        self._stopping.set()
        self.wake()
        self.join()

    def run(self) -> None:
        for orphan in self._orphans:
            if self._drain(orphan):
                orphan.close()
        while not self._stopping.is_set():
            self._drain(self._own)
            self._work.wait()
            self._work.clear()
            self._stopping.wait(self._linger_s)
        self._disconnect()

    def _drain(self, journal: Journal) -> bool:
        """Sends a journal. True once nothing is left in it, False if the thread was stopped before."""
        while not self._stopping.is_set():
            lines = journal.window(WINDOW_BYTES)
            if not lines:
                return True
            left = self._readable(lines)
            while left := self._attempt(left):
                if self._stopping.wait(RETRY_S):
                    return False
            journal.mark_sent(len(lines))
            self._report(reachable=True)
        return False

    def _readable(self, lines: list[bytes]) -> list[Message]:
        messages = []
        for line in lines:
            try:
                messages.append(message(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self.unreadable += 1
                log.error("a line of the spool is damaged and left out: %s, got %r", error, line[:80])
        return messages

    def _attempt(self, messages: list[Message]) -> list[Message]:
        """Sends messages, and returns those that Kafka has not taken, in order."""
        futures: list[Any] = []
        cause: object = None
        try:
            producer = self._connected()
            for topic, key, value in messages:
                futures.append(producer.send(topic, value, key))
            self._flush(producer)
            cause = next((f.exception for f in futures if f.failed()), None)
        except Exception as error:  # whatever the client raises, the thread must live on and try again
            cause = error
        if cause is None:
            return []
        self._report(reachable=False, cause=cause)
        self._disconnect()
        return [m for m, f in zip(messages, futures, strict=False) if not f.succeeded()] + messages[len(futures) :]

    def _flush(self, producer: KafkaProducer) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                producer.flush(ANSWER_S)
                return
            except KafkaTimeoutError as error:
                self._report(reachable=False, cause=error)
                if self._stopping.is_set() or time.monotonic() > deadline_s:
                    raise

    def _connected(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = connect(self._config)
            # The client closes itself at exit; handlers run last in, first out, and ours must come before.
            atexit.unregister(self._on_exit)
            atexit.register(self._on_exit)
        return self._producer

    def _disconnect(self) -> None:
        """Closes the producer. A failed one is not used again, because it could deliver an old batch late."""
        if self._producer is None:
            return
        sender = self._producer._sender
        sender.force_close()  # close(0) would raise, not close, while a batch waits
        sender.join(CLOSE_S)
        self._producer.close()
        self._producer = None

    def _report(self, reachable: bool, cause: object = None) -> None:
        if not reachable:
            self._own.sync()  # now the spool is the only copy
            if self.reachable:
                log.warning("Kafka does not answer, events wait in the spool: %s", cause)
        elif not self.reachable:
            log.warning("Kafka is back")
        with self._progress:
            self.reachable = reachable
            self._progress.notify_all()
