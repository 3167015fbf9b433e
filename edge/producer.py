"""A kafka-python producer that fails quickly and cleanly when the brokers are away."""

import socket
from typing import Any

from kafka import KafkaProducer
from kafka.net.compat import KafkaNetClient

KNOCK_S = 2.0


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
