"""Alerts for an operator: one JSON message to the webhook of [alerts], with a `text` for chat rooms."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Alerts


def send(alerts: Alerts, text: str, **fields: Any) -> bool:
    """Sends a message; returns False if no webhook is set. Raises HeadraceError if the webhook does not take it."""
    if not alerts.webhook:
        return False
    body = json.dumps({"text": text, **fields}).encode()
    request = urllib.request.Request(alerts.webhook, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=alerts.timeout_s):
            return True
    except OSError as error:
        # The address may hold a token, so the error does not repeat it.
        raise HeadraceError(f"alerts.webhook did not take {text!r}: {error}") from None


def send_news(alerts: Alerts, memory: Path, trouble: dict[str, str]) -> bool:
    """Sends what went wrong since the last call and what is well again, each once. Returns whether it sent anything.

    memory: the file that remembers what was sent; trouble: by name, what is wrong now. Raises HeadraceError if the
    webhook does not take the message.
    """
    before: dict[str, str] = json.loads(memory.read_text()) if memory.exists() else {}
    lines = [f"{name}: {text}" for name, text in trouble.items() if name not in before]
    lines += [f"{name}: well again" for name in before if name not in trouble]
    sent = bool(lines) and send(alerts, "headrace: " + "; ".join(lines), trouble=trouble)
    memory.parent.mkdir(parents=True, exist_ok=True)
    durable.write(memory, json.dumps(trouble).encode())
    return sent
