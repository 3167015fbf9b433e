"""Peer: a confluent-kafka consumer and a dict. Nothing is durable: a crash loses the state."""

from confluent_kafka import Consumer

from benchmarks.peers.shoppers import Shoppers
from headrace.infra.settings import Settings, load
from headrace.schemas import topics

BATCH_SIZE = 10_000
WAIT_S = 0.02


def main(settings: Settings) -> None:
    shoppers = Shoppers(settings)
    options = {"bootstrap.servers": settings.kafka.bootstrap, "group.id": "confluent_loop", "enable.auto.commit": False}
    consumer = Consumer(options | {"auto.offset.reset": "earliest"})
    consumer.subscribe([topics.CLICKS])
    while True:
        for message in consumer.consume(BATCH_SIZE, WAIT_S):
            shoppers.take(message.value(), message.timestamp()[1])
        shoppers.write()


if __name__ == "__main__":
    main(load())
