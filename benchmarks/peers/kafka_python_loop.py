"""Peer: a kafka-python consumer, with the crc32c package, and a dict. Nothing is durable: a crash loses the state."""

from kafka import KafkaConsumer

from benchmarks.peers.shoppers import Shoppers
from headrace.infra.settings import Settings, load
from headrace.schemas import topics

BATCH_SIZE = 10_000
FETCH_BYTES = 16 << 20
WAIT_MS = 20


def main(settings: Settings) -> None:
    shoppers = Shoppers(settings)
    consumer = KafkaConsumer(
        topics.CLICKS,
        auto_offset_reset="earliest",
        group_id=None,
        max_partition_fetch_bytes=FETCH_BYTES,
        **settings.kafka.client(),
    )
    while True:
        for records in consumer.poll(WAIT_MS, BATCH_SIZE).values():
            for record in records:
                shoppers.take(record.value, record.timestamp)
        shoppers.write()


if __name__ == "__main__":
    main(load())
