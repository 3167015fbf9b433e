"""What Kafka says of a job's transactions after a long outage, from a real broker; and where the job then goes on."""

import time
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer

from headrace.infra.clients import kafka_topics
from headrace.infra.launch.streaming import Submission
from headrace.infra.operate import beginning, places, transactions
from headrace.infra.operate.places import Choice, Place
from headrace.infra.settings import Kafka, load
from headrace.schemas.topics import SESSIONS
from tests.edge.broker import Broker
from tests.stack.running import wait

JOB = "session_features"


def began(kafka: Kafka, checkpoint: int, timeout_ms: int = 60_000, subtask: int = 0) -> Any:
    """Returns a producer whose transaction has a record, named as Flink's sink names it."""
    name = kafka.name(f"{JOB}-{SESSIONS}-{subtask}-{checkpoint}")
    producer = KafkaProducer(**kafka.client(), transactional_id=name, transaction_timeout_ms=timeout_ms)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(kafka.name(SESSIONS), b"{}", b"ann").get(30)
    return producer


@pytest.mark.stack
@pytest.mark.parametrize("prefix", ["", f"{JOB}."])
def test_transactions_that_kafka_aborted_are_found_by_the_checkpoint(broker: Broker, prefix: str) -> None:
    """Also beside a shop whose prefix looks like the job."""
    kafka, other = (broker.kafka.model_copy(update={"prefix": each}) for each in (prefix, f"{JOB}-{SESSIONS}."))
    kafka_topics.create(kafka)
    kafka_topics.create(other)
    with closing(began(other, 6)) as producer:
        producer.abort_transaction()
    for checkpoint in (5, 8):
        with closing(began(kafka, checkpoint)) as producer:
            producer.commit_transaction()
    for checkpoint in (4, 6, 7):
        with closing(began(kafka, checkpoint)) as producer:
            producer.abort_transaction()
    with closing(began(kafka, 7, subtask=1)):
        wait(lambda: len(transactions.aborted(kafka, JOB, 5, 7)) == 2, 20, lambda: "no transaction is aborted")
        assert transactions.aborted(kafka, JOB, 5, 7) == [
            kafka.name(f"{JOB}-{SESSIONS}-0-{checkpoint}") for checkpoint in (6, 7)
        ]
    assert transactions.aborted(kafka, JOB, 7, 9) == []
    assert transactions.aborted(kafka, "session", 0, 9) == []


NEWEST, BEFORE = Place("s3://a/1/chk-7", 1_000_000), Place("s3://a/1/chk-5", 990_000)
SAVEPOINT = Place("s3://a/savepoint-1", 995_000)
LOST = (f"{JOB}-{SESSIONS}-0-7",)


@pytest.mark.parametrize(
    ("known", "away_s", "aborted", "choice"),
    [
        ([], 0, [], None),
        ([NEWEST, BEFORE], 900, LOST, Choice(NEWEST)),  # Kafka is not even asked
        ([NEWEST, BEFORE], 901, LOST, Choice(BEFORE, LOST)),
        ([NEWEST, BEFORE], 901, [], Choice(NEWEST)),
        ([NEWEST, SAVEPOINT, BEFORE], 901, LOST, Choice(BEFORE, LOST)),
        ([NEWEST], 901, LOST, Choice(NEWEST, LOST)),
        ([SAVEPOINT, BEFORE], 9_000, LOST, Choice(SAVEPOINT)),
    ],
)
def test_after_a_long_outage_a_job_goes_on_before_what_was_lost(
    monkeypatch: pytest.MonkeyPatch, known: list[Place], away_s: int, aborted: list[str], choice: Choice | None
) -> None:
    def found(kafka: Kafka, job: str, after: int, until: int) -> list[str]:
        assert (after, until) == (5 if BEFORE in known else 0, 7)
        return list(aborted)

    monkeypatch.setattr(time, "time", lambda: known[0].taken_ms / 1000 + away_s if known else 0.0)
    monkeypatch.setattr(places, "places", lambda settings, job: known)
    monkeypatch.setattr(transactions, "aborted", found)
    assert places.choose(load(), JOB) == choice


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(NEWEST), ""),
        (Choice(BEFORE, LOST), "the checkpoint before the newest: 1 of its transactions were aborted"),
        (Choice(NEWEST, LOST), "is LOST, as no checkpoint before it is left"),
    ],
)
def test_the_user_is_told_what_was_lost(choice: Choice, said: str) -> None:
    begun = beginning.begin_at(Submission(JOB), choice)
    assert begun.submission.from_savepoint == choice.place.path
    assert choice.place.path in begun.where
    assert said in begun.where
