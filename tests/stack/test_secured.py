"""A job whose Kafka wants TLS and a password, and whose Redis wants TLS and another: both are real."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.infra.clients import kafka_topics
from headrace.infra.settings import load
from headrace.schemas import redis_keys
from headrace.schemas.topics import CLICKS
from tests import topic
from tests.edge.broker import Broker, free_port
from tests.stack.running import Failed, Stack, wait
from tests.streams.clicks import in_order, online_retail, records

pytestmark = [pytest.mark.stack, pytest.mark.soak]
SERVER = """
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="broker" password="of the broker" user_broker="of the broker" user_shop="of Kafka";
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes ca.pem, server.pem (key and self-signed certificate of 127.0.0.1), and files with the passwords."""
    folder = tmp_path_factory.mktemp("secrets")
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run([*certificate, *names], cwd=folder, check=True, capture_output=True)
    (folder / "server.pem").write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    (folder / "kafka").write_text("of Kafka\n")
    (folder / "redis").write_text("of Redis\n")
    return folder


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder, "SASL_SSL", SERVER.format(folder=folder))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def redis_port(folder: Path) -> Iterator[int]:
    port = free_port()
    options = {"tls-port": port, "port": 0, "requirepass": "of Redis", "save": "", "tls-auth-clients": "no"}
    options |= {"tls-cert-file": "ca.pem", "tls-key-file": "key.pem", "tls-ca-cert-file": "ca.pem"}
    command = [str(shutil.which("redis-server"))]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        yield port
        process.terminate()


@pytest.fixture
def secured(stack: Stack, broker: Broker, redis_port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Returns the stack's Flink, with Kafka and Redis elsewhere."""
    kafka: dict[str, object] = {"bootstrap": f"127.0.0.1:{broker.port}", "security_protocol": "SASL_SSL"}
    kafka |= {
        "sasl_mechanism": "PLAIN",
        "username": "shop",
        "password_file": folder / "kafka",
        "ca_file": folder / "ca.pem",
    }
    redis: dict[str, object] = {"host": "127.0.0.1", "port": redis_port, "tls": True, "ca_file": folder / "ca.pem"}
    redis |= {"password_file": folder / "redis"}
    for section, values in {"KAFKA": kafka, "REDIS": redis}.items():
        for name, value in values.items():
            monkeypatch.setenv(f"HEADRACE_{section}__{name.upper()}", str(value))
    return Stack(stack.home, load())


def test_features_arrive_through_tls_and_passwords(secured: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = secured.settings
    kafka_topics.create(settings.kafka)
    clicks = online_retail("2011-11", 500)
    secured.submit()
    topic.send(settings.kafka, CLICKS, records(in_order(clicks)))
    client = settings.redis.client()
    keys = {redis_keys.session(click["user_id"]) for click in clicks}
    wait(lambda: client.exists(*keys) == len(keys), 90, lambda: f"{client.dbsize()} of {len(keys)} users are in Redis")
    assert secured.restarts() == 0
    assert json.loads(secured.run("deadletters", "--count", "--json"))["data"] == {"counts": {}}
    monkeypatch.setenv("HEADRACE_KAFKA__USERNAME", "nobody")
    with pytest.raises(Failed, match=r"headrace: [^\n]*Kafka[^\n]*\n$"):
        secured.run("deadletters")
    monkeypatch.setenv("HEADRACE_REDIS__TLS", "false")
    monkeypatch.delenv("HEADRACE_REDIS__CA_FILE")
    with pytest.raises(Failed, match=r"headrace: [^\n]*Redis[^\n]*\n$"):
        secured.run("session", clicks[0]["user_id"])


def test_landing_goes_through_tls_and_a_password(
    broker: Broker, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark's Kafka client, whose classes have other names than those in Flink's connector."""
    variables: dict[str, object] = {"HOME": tmp_path, "KAFKA__BOOTSTRAP": f"127.0.0.1:{broker.port}"}
    variables |= {"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_MECHANISM": "PLAIN", "KAFKA__USERNAME": "shop"}
    variables |= {"KAFKA__PASSWORD_FILE": folder / "kafka", "KAFKA__CA_FILE": folder / "ca.pem"}
    variables |= {"KAFKA__PREFIX": "landing."}
    for name, value in variables.items():
        monkeypatch.setenv(f"HEADRACE_{name}", str(value))
    kafka = load().kafka
    kafka_topics.create(kafka)
    before = sum(topic.ends(kafka, CLICKS).values())
    topic.send(kafka, CLICKS, records(in_order(online_retail("2011-11", 100))))
    assert f"clicks: {before + 100} records, {before + 100} landed, 0 refused" in Stack(tmp_path, load()).run(
        "run", "land"
    )
