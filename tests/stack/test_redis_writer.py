"""The writer's connection is cut again and again while it writes: Redis has every value, replies stay in step."""

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.infra.clients.redis_writer import RedisWriter
from headrace.udfs.resp import fields
from tests.stack.running import Stack

pytestmark = pytest.mark.stack
VALUES = 5_000


@pytest.mark.parametrize("every", [249, 250, 251, 1_999, VALUES])
def test_a_connection_that_is_cut_loses_no_command(stack: Stack, every: int) -> None:
    client: Any = stack.settings.redis.client()

    def cut() -> Iterator[bytes]:
        names = [str(n) for n in range(VALUES)]
        for n, command in enumerate(fields(["written"] * VALUES, names, [name.encode() for name in names])):
            if n % every == every - 1:
                client.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            yield command

    writer = RedisWriter(stack.settings.redis)
    for _ in range(2):
        client.flushall()
        writer.write(cut(), replies=1)
        assert client.hgetall("written") == {b"%d" % n: b"%d" % n for n in range(VALUES)}


def test_an_error_of_redis_is_raised(stack: Stack) -> None:
    client = stack.settings.redis.client()
    client.set("written", "no hash")
    with pytest.raises(Exception, match="WRONGTYPE"):
        RedisWriter(stack.settings.redis).write(fields(["written"], ["a"], [b"b"]), replies=1)
