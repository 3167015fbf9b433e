"""The thread that carries spooled events to Kafka, in order, for as long as it takes.

One window of the spool is under way at a time. Each partition's share of it is exactly one Kafka batch, sent only by
`flush`. So an event never overtakes an earlier one of its user, whatever fails: a batch fails as a whole, and nothing
after it has left yet. To wait for each window costs nothing at full speed (40 k events/s, as when pipelined, because
the Python client is the slow part), while kafka-python's default batches of 16 KiB cost 40 %. There is no compression:
on one machine gzip costs 20 % and lz4 gains nothing.
"""

import atexit
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from headrace.edge.producer import PRODUCER, connect, leave
from headrace.edge.spool import Journal
from headrace.edge.spool_line import Message, message
from headrace.edge.troubles import RETRY_S, Troubles

log = logging.getLogger(__name__)

WINDOW_BYTES = 256 << 10
PATIENCE_S = 30  # for one window; the client gives up after delivery_timeout_ms, unless it is stuck
ANSWER_S = 1.0  # without an answer for this long the broker counts as away
CLOSE_S = 5
TEND_S = 30  # how often the thread looks for the spools of processes that have died
KAFKA = "Kafka"


class Shipper:
    """Sends the journals of dead processes first, then this process's own and those of whoever dies later.

    No error ends its thread: what fails is logged once per kind and tried again. `wake` starts one that ended anyway.
    """

    def __init__(self, client: dict[str, Any], own: Journal, linger_s: float, on_exit: Callable[[], None]):
        self.unreadable = 0  # lines that a power cut has damaged
        self.recovered = 0  # events of other processes that are in Kafka now
        self.orphans = Journal.orphans(own.folder.parent)
        self.troubles = Troubles()
        self._own, self._answers = own, True  # until Kafka is silent
        self.failed = False  # the last attempt, which was not only slow
        self._config, self._linger_s, self._on_exit = PRODUCER | client, linger_s, on_exit
        self._progress, self._work, self._stopping = threading.Condition(), threading.Event(), threading.Event()
        self._producer: KafkaProducer | None = None
        self._tended_s, self._starting = time.monotonic(), threading.Lock()
        self._thread = self._started()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def reachable(self) -> bool:
        """Whether events can be sent, as far as that is known. False if nobody tries."""
        return self._answers and self.alive and _named(self._own) not in self.troubles

    @property
    def unsent_bytes(self) -> int:
        return sum(journal.unsent_bytes for journal in (*self.orphans, self._own))

    def wake(self) -> None:
        if not self._work.is_set():  # set() takes a lock, is_set() none
            self._work.set()
        if not self._thread.is_alive():
            self._start_again()

    def wait(self, done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Waits until `done`, which is asked again after each window. False if the timeout came first."""
        with self._progress:
            return self._progress.wait_for(done, timeout_s)

    def sync(self) -> None:
        """Makes what the journal holds survive a power cut. Any thread may call it; what fails is a trouble."""
        with self.troubles.of("the disk of the spool"):
            self._own.sync()

    def stop(self) -> None:
        """Ends the thread after the window under way, or within a few seconds if the broker is away."""
        self._stopping.set()
        self._work.set()
        self._thread.join()

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        if self._producer is not None:
            leave(self._producer)

    def _started(self) -> threading.Thread:
        (thread := threading.Thread(target=self._run, name="headrace-shipper", daemon=True)).start()
        return thread

    def _start_again(self) -> None:
        with self._starting:
            if self._thread.is_alive() or self._stopping.is_set():
                return
            log.error("the thread that sends events to Kafka has ended; it is started again")
            self.failed = False
            try:
                self._thread = self._started()
            except RuntimeError as error:  # no more threads: the event that was just taken waits for the next one
                self.troubles.failed("the sending thread", error)

    def _run(self) -> None:
        try:
            for orphan in list(self.orphans):
                self._attend(orphan)
            while not self._stopping.is_set():
                self._tend()
                for orphan in list(self.orphans):  # a little at a time: what this process has to send is waiting
                    self._attend(orphan, windows=1)
                self._attend(self._own)
                self._work.wait(RETRY_S if self.troubles or self.orphans else TEND_S)
                self._work.clear()
                self._stopping.wait(self._linger_s)
        finally:
            self._disconnect()
            with self._progress:
                self._answers, self.failed = False, True
                self._progress.notify_all()

    def _tend(self) -> None:
        """Now and then: keeps the own files young, and takes over from those who have died meanwhile."""
        if time.monotonic() < self._tended_s + TEND_S:
            return
        self._tended_s = time.monotonic()
        with self.troubles.of("the spool"):
            self._own.touch()
        with self.troubles.of("the spools of dead processes"), suppress(BlockingIOError):  # next time
            self.orphans += Journal.orphans(self._own.folder.parent, wait=False)

    def _attend(self, journal: Journal, windows: float = math.inf) -> None:
        what = _named(journal)
        if not self.troubles.due(what):
            return
        with self.troubles.of(what):
            if self._drain(journal, windows) and journal is not self._own:
                journal.close()
                self.orphans.remove(journal)
        with self._progress:
            self._progress.notify_all()

    def _drain(self, journal: Journal, windows: float) -> bool:
        """Sends at most so many windows of a journal. True once nothing is left in it. Raises OSError."""
        while not self._stopping.is_set() and windows > 0:
            lines = journal.window(WINDOW_BYTES)
            if not lines:
                return True
            left = self._readable(lines)
            while left := self._attempt(left):
                self._tend()
                if self._stopping.wait(RETRY_S):
                    return False
            journal.mark_sent(len(lines))
            self.recovered += len(lines) if journal is not self._own else 0
            self._report()
            windows -= 1
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
        self.failed = True
        self._report(cause)
        self._disconnect()
        return [m for m, f in zip(messages, futures, strict=False) if not f.succeeded()] + messages[len(futures) :]

    def _flush(self, producer: KafkaProducer) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                producer.flush(ANSWER_S)
                return
            except KafkaTimeoutError as error:
                self._report(error)
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
        producer, self._producer = self._producer, None
        producer._sender.force_close()  # close(0) would raise, not close, while a batch waits
        producer._sender.join(CLOSE_S)
        producer.close()

    def _report(self, trouble: object = None) -> None:
        """What Kafka said last; None if it took a window."""
        if trouble is None:
            self.troubles.well(KAFKA)
        else:
            self.troubles.failed(KAFKA, trouble)
            self.sync()  # now the spool is the only copy
        with self._progress:
            self._answers = trouble is None
            self.failed = self.failed and not self._answers
            self._progress.notify_all()


def _named(journal: Journal) -> str:
    return f"the spool {journal.folder}"
