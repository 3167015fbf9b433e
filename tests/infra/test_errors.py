"""One line for each error, and one hint for each trouble."""

import pytest
from kafka.errors import KafkaTimeoutError
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from headrace.infra.clients import flink, kafka_topics
from headrace.infra.errors import IS_IT_UP, HeadraceError, Refusal, describe
from headrace.infra.settings import load

AWAY = {
    "Redis": RedisConnectionError("Error 111 connecting to localhost:1. Connection refused."),
    "Kafka": KafkaTimeoutError("Failed to update metadata after 60.0 secs."),
}


@pytest.mark.parametrize("part", AWAY)
def test_a_part_that_is_away_has_one_hint_and_no_full_stop_before_it(part: str) -> None:
    said = describe(AWAY[part])
    assert said.startswith(f"{part}: ")
    assert said.endswith(f": {IS_IT_UP}")
    assert ".:" not in said
    assert said.count("headrace up") == 1


def test_kafka_and_flink_that_are_away_have_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load()
    kafka = kafka_topics.unreachable(settings.kafka, AWAY["Kafka"])
    assert str(kafka).endswith(f"(KafkaTimeoutError: Failed to update metadata after 60.0 secs): {IS_IT_UP}")
    away = settings.flink.model_copy(update={"rest": "127.0.0.1:1"})
    with pytest.raises(HeadraceError) as error:
        flink.jobs(away)
    assert str(error.value).endswith(f"): {IS_IT_UP}")


def test_ours_stay_as_they_are() -> None:
    assert describe(Refusal("epsilon is spent.")) == "epsilon is spent."


def test_a_wrong_password_has_a_sentence_of_its_own() -> None:
    assert describe(AuthenticationError("WRONGPASS.")) == "Redis refuses redis.username and redis.password: WRONGPASS"


def test_an_error_of_no_library_names_its_kind() -> None:
    assert describe(ZeroDivisionError("division by zero.")) == (
        "ZeroDivisionError: division by zero (HEADRACE_DEBUG=1 shows where)"
    )
