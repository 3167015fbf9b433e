"""A kafka-python producer that fails quickly and cleanly when the brokers are away."""

import socket
from typing import Any

from kafka import KafkaProducer
from kafka.net.compat import KafkaNetClient

BATCH_BYTES = 1 << 20  # holds a whole window of the sender with its keys
PRODUCER: dict[str, Any] = {
    "enable_idempotence": True,
    "acks": "all",
    "batch_size": BATCH_BYTES,
    "max_request_size": BATCH_BYTES,
    "linger_ms": 10_000,  # longer than filling a window takes: only flush() sends
    "request_timeout_ms": 5_000,
    "delivery_timeout_ms": 20_000,
    "bootstrap_timeout_ms": 3_000,
    "max_block_ms": 3_000,
    "reconnect_backoff_max_ms": 500,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}
KNOCK_S = 2.0
INHERITED: list[KafkaProducer] = []


def connect(config: dict[str, Any]) -> KafkaProducer:
    """Makes a producer. Raises KafkaError or OSError if no broker answers.

    A failed KafkaProducer(...) would leave its sockets to the garbage collector, and an outage would use up the limit
    of open files. So this closes them.
    """
    clients: list[KafkaNetClient] = []

    def client(**settings: Any) -> KafkaNetClient:
        clients.append(KafkaNetClient(**settings))
        return clients[-1]

    _knock(config["bootstrap_servers"])
    try:
        return KafkaProducer(**config, kafka_client=client)
    except Exception:
        for failed in clients:
            failed.close()
        raise


def leave(producer: KafkaProducer) -> None:
    """In a forked child, where a producer is the parent's: to close its connections here could end them there."""
    producer._closed = True
    INHERITED.append(producer)  # kept, since collecting it would close them


def _knock(servers: str | list[str]) -> None:
    """Raises OSError unless the port of a broker is open."""
    refused: OSError | None = None
    for server in servers.split(",") if isinstance(servers, str) else servers:
        host, _, port = server.rpartition(":")
        try:
            return socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()
        except OSError as error:
            refused = error
    raise refused or OSError("bootstrap_servers must name a broker, got none")
