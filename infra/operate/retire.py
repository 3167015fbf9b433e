"""`headrace retire`: removes arms whose item has left the catalogue from Redis and from the topic `statistics`.

The job's own sums stay. So an item that comes back begins where it was: its next impression writes the arm again.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from headrace.infra.clients import kafka_topics
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Settings
from headrace.infra.versions import store
from headrace.schemas import redis_keys
from headrace.schemas.topics import STATISTICS


class Arm(NamedTuple):
    policy: str
    item: str
    key: bytes  # of its record in `statistics`


def resting(settings: Settings, now_ms: int) -> list[Arm]:
    """Returns the arms that are not in the serving version, and had no impression or feedback for bandit.retire_ms.

    Raises HeadraceError if no version is published.
    """
    pointer = store.current()
    if not pointer:
        raise HeadraceError("a version must be published to say which items are in the catalogue, got none")
    catalogue = set(store.load(pointer.version).contents.items)
    return [arm for arm in _old(settings, now_ms) if arm.item not in catalogue]


def _old(settings: Settings, now_ms: int) -> Iterator[Arm]:
    import msgspec

    newest: dict[bytes, bytes | None] = {r.key: r.value for r in kafka_topics.records(settings.kafka, STATISTICS)}
    for key, value in newest.items():
        if value is not None:
            arm = msgspec.json.decode(value)
            if arm["as_of_ms"] < now_ms - settings.bandit.retire_ms:
                yield Arm(arm["policy"], arm["arm"], key)


def delete(settings: Settings, gone: list[Arm]) -> None:
    """Deletes the arms. Redis comes first: arms that a crash leaves in the topic are found again."""
    from kafka import KafkaProducer

    client = settings.redis.client()
    for arm in gone:
        client.hdel(redis_keys.bandit(arm.policy), arm.item)
    with closing(KafkaProducer(**settings.kafka.client(), acks="all")) as producer:
        for future in [producer.send(STATISTICS, key=arm.key, value=None) for arm in gone]:
            future.get(timeout=60)
