"""README's Python example, as it is printed there, on a real Redis and a real broker."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from headrace import Tracker
from headrace.schemas.topics import CLICKS, IMPRESSIONS
from tests import topic
from tests.edge.broker import Broker
from tests.edge.redis_lists import publish
from tests.stack.running import wait

README = Path(__file__).parents[2] / "README.md"


def example() -> str:
    found = re.search(r"^From a service of yours:\n\n((?:    .*\n|\n)+)", README.read_text(), re.MULTILINE)
    assert found, "README has no example after `From a service of yours:`"
    return textwrap.dedent(found[1])


def sent(broker: Broker, name: str) -> list[dict[str, Any]]:
    """The records of a topic. What a busy broker did not take from the example, the next tracker sends."""
    Tracker.connect().close()
    return [json.loads(record.value) for record in topic.read(broker.kafka, name)]


@pytest.mark.usefixtures("own_home")
def test_the_example_shows_a_list_and_sends_what_was_done(
    redis: Redis, redis_port: int, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_REDIS__HOST", "127.0.0.1")
    monkeypatch.setenv("HEADRACE_REDIS__PORT", str(redis_port))
    monkeypatch.setenv("HEADRACE_KAFKA__BOOTSTRAP", broker.kafka.bootstrap)
    publish(redis)
    names: dict[str, Any] = {}
    exec(compile(example(), str(README), "exec"), names)
    shown = names["shown"]
    wait(lambda: sent(broker, CLICKS) != [], 60, lambda: "the click has not come")
    impressions, (click,) = sent(broker, IMPRESSIONS), sent(broker, CLICKS)
    assert {each["item_id"] for each in impressions} == {entry.item for entry in shown.items} != set()
    assert {each["impression_id"] for each in impressions} == {shown.impression_id}
    assert (click["user_id"], click["item_id"]) == ("ann", shown.items[0].item)
    assert (click["action"], click["impression_id"]) == ("click", shown.impression_id)
