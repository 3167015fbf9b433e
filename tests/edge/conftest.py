import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis, RedisError

from headrace.infra import paths
from tests.edge.broker import Broker, free_port
from tests.stack.running import wait


@pytest.fixture(scope="module")
def running_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not paths.kafka_jars().is_dir():
        pytest.skip(f"no Kafka jars in {paths.kafka_jars()}: `headrace up` fetches them")
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def broker(running_broker: Broker) -> Broker:
    """Returns the broker with empty topics."""
    from headrace.infra.clients import kafka_topics

    with kafka_topics.admin(running_broker.kafka) as admin:
        admin.delete_topics([name for name in kafka_topics.names() if name in admin.list_topics()])
        wait(lambda: not set(kafka_topics.names()) & set(admin.list_topics()), 30, lambda: "topics are still there")
    kafka_topics.create(running_broker.kafka)
    return running_broker


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis"), free_port()) as (_, port):
        yield port


@contextmanager
def redis_server(folder: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("no redis-server: `headrace doctor` says how to get it")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process, Redis(port=port) as client:
        wait(lambda: _answers(client), 20, lambda: "Redis does not answer")
        yield process, port
        process.kill()


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@pytest.fixture
def redis(redis_port: int) -> Iterator[Redis]:
    """Returns an empty Redis."""
    with Redis(port=redis_port) as client:
        client.flushall()
        yield client
