from collections.abc import Iterator

import pytest

from infra import places
from tests.edge.broker import Broker


@pytest.fixture(scope="module")
def running_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not places.kafka_jars().is_dir():
        pytest.skip(f"no Kafka jars in {places.kafka_jars()}: `headrace up` fetches them")
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def broker(running_broker: Broker) -> Broker:
    """With empty topics."""
    from infra import topics
    from tests.stack.running import wait

    with topics.admin(running_broker.kafka) as admin:
        admin.delete_topics([name for name in topics.names() if name in admin.list_topics()])
        wait(lambda: not set(topics.names()) & set(admin.list_topics()), 30, lambda: "topics are still there")
    topics.create(running_broker.kafka)
    return running_broker
