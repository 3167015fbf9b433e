"""Kafka for the processes of a federated round, against a real broker."""

from contextlib import closing

import pytest

from headrace.edge.federated.channel import Told, TopicFollower, Writer
from headrace.infra.clients import kafka_topics
from headrace.schemas import topics
from tests.edge.broker import Broker

MODEL = {"model": "als", "version": 0, "round": 0, "part": 0, "parts": 1, "length": 1, "parameters": "AAAAAA=="}


@pytest.mark.stack
def test_populations_with_prefixes_of_their_own_hear_only_their_own(broker: Broker) -> None:
    shops = [broker.kafka.model_copy(update={"prefix": prefix}) for prefix in ("", "second.")]
    for number, kafka in enumerate(shops):
        kafka_topics.create(kafka)
        with closing(Writer(kafka, "coordinator")) as writer:
            writer.write([Told(topics.GLOBAL_MODEL, MODEL | {"version": number})])
    for number, kafka in enumerate(shops):
        with closing(TopicFollower(kafka, [topics.ROUNDS, topics.GLOBAL_MODEL])) as follower:
            (told,) = follower.catch_up()
        assert told.topic == topics.GLOBAL_MODEL
        assert told.record["version"] == number
