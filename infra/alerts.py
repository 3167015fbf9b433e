"""What an operator must hear: one JSON message to the webhook of [alerts], with a `text` for chat rooms."""

import json
import urllib.request
from typing import Any

from infra.errors import HeadraceError
from infra.settings import Alerts


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
