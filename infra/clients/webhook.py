"""What an operator must hear: one JSON message to the webhook of [alerts], with a `text` for chat rooms."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from headrace.infra import durable
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import Alerts


def send(alerts: Alerts, text: str, **fields: Any) -> bool:
    """False if no webhook is set; HeadraceError if it does not take the message."""
    if not alerts.webhook:
        return False
    body = json.dumps({"text": text, **fields}).encode()
    request = urllib.request.Request(alerts.webhook, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=alerts.timeout_s):
            return True
    except OSError as error:
        # The address may hold a token: it is not repeated.
        raise HeadraceError(f"alerts.webhook did not take {text!r}: {error}") from None


def send_news(alerts: Alerts, memory: Path, trouble: dict[str, str]) -> bool:
    """What is wrong now and was not at the last call, and what is well again; each is told once.

    memory: the file that remembers what was told; trouble: by name, what is wrong.
    """
    told: dict[str, str] = json.loads(memory.read_text()) if memory.exists() else {}
    lines = [f"{name}: {said}" for name, said in trouble.items() if name not in told]
    lines += [f"{name}: well again" for name in told if name not in trouble]
    sent = bool(lines) and send(alerts, "headrace: " + "; ".join(lines), trouble=trouble)
    memory.parent.mkdir(parents=True, exist_ok=True)
    durable.write(memory, json.dumps(trouble).encode())
    return sent
