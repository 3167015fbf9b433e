"""The one way streaming jobs write to Redis: a batch of absolute values, answered before the batch is done.

Flink replays a batch whose write did not return, so every value arrives at least once; a value is a function of the log
alone, so the second time changes nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from udfs.resp import HashWriter

if TYPE_CHECKING:
    from infra.settings import Redis

_REPLIES = 2  # HSET, PEXPIREAT
_PIPELINE = 1000  # keys; with more, the socket's buffers fill both ways, and each side waits for the other


class RedisWriter:
    """Hashes with the same fields, each with an expiry. Opened in the worker: no password is in the job graph."""

    def __init__(self, redis: "Redis", fields: Sequence[str]) -> None:
        self._client = redis.client()
        self._connection = self._client.connection_pool.get_connection()
        self._hashes = HashWriter(fields)

    def write(self, keys: Sequence[str], columns: Sequence[Sequence[Any]], expire_at_ms: Sequence[int]) -> None:
        commands = self._hashes.commands(keys, columns, expire_at_ms)
        for at in range(0, len(commands), _PIPELINE):
            self._connection.retry.call_with_retry(
                lambda part=commands[at : at + _PIPELINE]: self._send(part), lambda _: self._connection.disconnect()
            )

    def _send(self, commands: list[bytes]) -> None:
        self._connection.send_packed_command([b"".join(commands)])
        for _ in range(_REPLIES * len(commands)):
            self._connection.read_response()
