"""The one way in which streaming jobs write to Redis: a batch of absolute values, answered before the batch is done.

Flink replays a batch whose write did not return, so every value arrives at least once. A value is a function of the log
alone, so the second arrival changes nothing.
"""

from typing import TYPE_CHECKING

from pyflink.table.udf import FunctionContext, ScalarFunction

from headrace.infra.clients.redis_writer import RedisWriter

if TYPE_CHECKING:
    from headrace.infra.settings import Redis


class WritingFunction(ScalarFunction):  # type: ignore[misc]
    """A function that writes its rows to Redis, and returns once Redis has answered."""

    def __init__(self, redis: "Redis") -> None:
        self.redis = redis

    def is_deterministic(self) -> bool:
        return False  # it writes, so the planner may neither drop it nor call it twice

    def open(self, context: FunctionContext) -> None:
        self.writer = RedisWriter(self.redis)
