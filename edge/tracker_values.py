"""What a tracker (edge/tracker.py) is told, and what it says."""

from typing import NamedTuple


class Limits(NamedTuple):
    linger_s: float = 0.005  # the sender waits so long for more events
    buffer_bytes: int = 8 << 20  # with more unsent bytes, while events can be sent, track() waits ...
    block_s: float = 1.0  # ... this long at most, then spools on
    spool_bytes: int = 4 << 30  # with more unsent bytes, track() raises SpoolFull
    close_s: float = 10.0  # close() waits this long for Kafka; the rest stays in the spool


DEFAULT = Limits()


class SpoolFull(OSError):
    """The event was not accepted: Kafka has been away for too long, or the spool's disk has no room for it."""


class Counters(NamedTuple):
    sent: int  # events of this process that are in Kafka
    spooled: int  # events of this process that are in the spool alone
    rejected: int  # records that broke the contract
    recovered: int  # events of other processes that are in Kafka now


class Health(NamedTuple):
    reachable: bool  # whether events can be sent, as far as is known; False if the thread is dead
    alive: bool  # the thread that sends
    waiting_bytes: int  # of this process, and of dead ones
    unreadable: int  # lines of the spool that a power cut has damaged, and that were left out
    error: str  # what fails now; empty if nothing does
