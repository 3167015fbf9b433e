"""The one way streaming jobs write to Redis: a batch of absolute values, answered before the batch is done.

Flink replays a batch whose write did not return, so every value arrives at least once; a value is a function of the log
alone, so the second time changes nothing.
"""

from typing import TYPE_CHECKING

from pyflink.table.udf import FunctionContext, ScalarFunction

from headrace.infra.clients.redis_writer import RedisWriter

if TYPE_CHECKING:
    from headrace.infra.settings import Redis


class WritingFunction(ScalarFunction):  # type: ignore[misc]
    """A function that writes its rows to Redis, and answers once Redis has."""

    def __init__(self, redis: "Redis") -> None:
        self.redis = redis

    def is_deterministic(self) -> bool:
        return False  # it writes: the planner may neither drop nor repeat it

    def open(self, context: FunctionContext) -> None:
        self.writer = RedisWriter(self.redis)
