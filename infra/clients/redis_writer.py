"""Sends prebuilt RESP commands to Redis: some are on their way while the next are built.

After a lost connection it connects again, and sends again what was not answered. So a command may arrive twice, and
values must be absolute.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from redis.backoff import ExponentialBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from headrace.infra.settings import Redis

_PART = 250  # elements of `commands`: Redis works on one part while we build the next
_TRIES, _PAUSE_S, _PAUSE_MAX_S = 40, 0.02, 1.0  # half a minute: a Redis that restarts costs no restart of a job


class RedisWriter:
    """A connection for writing. It is opened in the worker, so that no password is in the job graph."""

    def __init__(self, redis: "Redis", tries: int = _TRIES) -> None:
        self._client = redis.client()
        self._retry = Retry(ExponentialBackoff(_PAUSE_MAX_S, _PAUSE_S), tries)
        self._connection = self._client.connection_pool.get_connection()
        self._lost = False  # whether the connection was lost, and with it the replies to what was sent

    def write(self, commands: Iterable[bytes], replies: int) -> None:
        """Sends RESP commands, which are built on the way, and returns once Redis has answered each `replies` times."""
        commands = iter(commands)
        waiting: list[bytes] = []
        while (part := list(islice(commands, _PART))) or waiting:
            self._retry.call_with_retry(
                lambda: self._send(part, waiting, replies),  # noqa: B023  # called before they change
                self._disconnect,
            )
            waiting = part

    def _send(self, part: list[bytes], waiting: list[bytes], replies: int) -> None:
        """Sends a part, then reads the replies to the one before it."""
        if self._lost:
            self._connection.send_packed_command([b"".join(waiting)])
            self._lost = False
        if part:
            self._connection.send_packed_command([b"".join(part)])
        for _ in range(replies * len(waiting)):
            self._connection.read_response()

    def _disconnect(self, _: Exception) -> None:
        self._connection.disconnect()
        self._lost = True
