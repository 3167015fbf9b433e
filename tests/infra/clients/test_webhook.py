"""The webhook, on a real HTTP server."""

import json
from pathlib import Path

import pytest

from headrace.infra.clients.webhook import send, send_news
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Alerts
from tests.webhook import webhook


def test_a_message_is_json_with_a_text() -> None:
    with webhook() as (address, posted):
        assert send(Alerts(webhook=address, timeout_s=5), "lamp is out", job="bandit")
    assert [json.loads(body) for body in posted] == [{"text": "lamp is out", "job": "bandit"}]


def test_without_a_webhook_nobody_is_told() -> None:
    assert not send(Alerts(webhook="", timeout_s=5), "lamp is out")


def test_a_webhook_that_refuses_is_one_line_without_its_address() -> None:
    with webhook(status=500) as (address, _), pytest.raises(HeadraceError, match="500") as caught:
        send(Alerts(webhook=address, timeout_s=5), "lamp is out")
    assert address not in str(caught.value)


def test_each_trouble_is_told_once_and_again_when_it_is_over(tmp_path: Path) -> None:
    memory = tmp_path / "watch" / "told"
    with webhook() as (address, posted):
        hook = Alerts(webhook=address, timeout_s=5)
        for trouble in (
            {},
            {"bandit runs": "FAILED"},
            {"bandit runs": "FAILED: later"},
            {"a lag": "9"},
            {"a lag": "9"},
            {},
        ):
            send_news(hook, memory, trouble)
    texts = [json.loads(body)["text"] for body in posted]
    expected = ["bandit runs: FAILED", "a lag: 9; bandit runs: well again", "a lag: well again"]
    assert texts == [f"headrace: {each}" for each in expected]
