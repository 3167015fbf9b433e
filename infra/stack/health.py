"""Whether each program of the stack answers as a client needs it."""

import socket
from collections.abc import Callable

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.stack import ports
from headrace.infra.stack.ports import LOCALHOST

PROBE_S = 2
Check = Callable[[], bool]


def checks(settings: Settings) -> dict[str, Check]:
    """Returns a check of each program, which says at once whether the program is healthy."""
    return {
        "zookeeper": lambda: _zookeeper(settings.stack.zookeeper_port),
        "redis": lambda: _redis(settings),
        "kafka": lambda: _kafka(settings),
        "jobmanager": lambda: _flink(settings, lambda overview: True),
        "taskmanager": lambda: _flink(settings, lambda overview: overview["slots-total"] >= settings.stack.slots),
    }


def _zookeeper(port: int) -> bool:
    try:
        with socket.create_connection((LOCALHOST, port), timeout=PROBE_S) as connection:
            connection.sendall(b"ruok")
            return connection.recv(4) == b"imok"
    except OSError:
        return False


def _redis(settings: Settings) -> bool:
    from redis import AuthenticationError, RedisError

    try:
        return bool(settings.redis.client(socket_timeout=PROBE_S).ping())
    except AuthenticationError as error:
        raise HeadraceError(f"Redis refuses the password of redis.password: {error}") from None
    except RedisError:
        return False


def _kafka(settings: Settings) -> bool:
    if ports.is_free(settings.stack.kafka_port):
        return False
    try:
        with kafka_topics.admin(settings.kafka, PROBE_S * 1000) as client:
            return bool(client.describe_cluster()["brokers"])
    except HeadraceError:
        return False


def _flink(settings: Settings, enough: Callable[[dict[str, int]], bool]) -> bool:
    try:
        return enough(flink.get(settings.flink, "/overview"))
    except HeadraceError:
        return False
