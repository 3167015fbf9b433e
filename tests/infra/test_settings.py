"""Settings: which source wins, and how a wrong setting is reported."""

import base64
import json
import pickle
from pathlib import Path

import pytest

from headrace.infra import paths
from headrace.infra.connections import SPARK_KAFKA
from headrace.infra.errors import SettingsError
from headrace.infra.settings import Settings, load


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults_are_those_of_the_file() -> None:
    settings = load()
    assert settings.kafka.bootstrap == "localhost:9092"
    assert settings.session.gap_ms == 1_800_000


def test_environment_over_named_file_over_stack_over_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _write(paths.stack_toml(), "[kafka]\npartitions = 5\nretention_h = 5\nbootstrap = 'stack:5'\n[redis]\nport = 5")
    named = _write(tmp_path / "mine.toml", "[kafka]\npartitions = 6\nretention_h = 6")
    monkeypatch.setenv("HEADRACE_SETTINGS", str(named))
    monkeypatch.setenv("HEADRACE_KAFKA__PARTITIONS", "7")
    settings = load()
    assert (settings.kafka.partitions, settings.kafka.retention_h, settings.kafka.bootstrap) == (7, 6, "stack:5")
    assert (settings.redis.port, settings.redis.host) == (5, "localhost")


SECRET = "s3cret%\"'\\"
WRONG = {
    "unknown section": ({"HEADRACE_KAFAK__BOOTSTRAP": "a:1"}, "no section 'kafak'"),
    "unknown name": ({"HEADRACE_KAFKA__BOOTSTRP": "a:1"}, "unknown setting kafka.bootstrp in environment"),
    "not a number": (
        {"HEADRACE_REDIS__PORT": "x"},
        "redis.port in environment HEADRACE_REDIS__PORT: must be .* got 'x'",
    ),
    "out of range": ({"HEADRACE_KAFKA__PARTITIONS": "0"}, "kafka.partitions .* must be greater than 0, got '0'"),
    "no port": ({"HEADRACE_KAFKA__BOOTSTRAP": "broker"}, "kafka.bootstrap .* must be host:port, got 'broker'"),
    "backend": ({"HEADRACE_FLINK__STATE_BACKEND": "disk"}, "must be 'hashmap' or 'rocksdb', got 'disk'"),
    "time zone": ({"HEADRACE_SESSION__TIME_ZONE": "Mars"}, "session.time_zone .* tz database"),
    "recent": ({"HEADRACE_SESSION__RECENT": "51"}, "session: recent must be <= history, got 51 > 50"),
    "fused with nothing": ({"HEADRACE_NIGHT__MODELS": '["federated"]'}, "night: models must name als with federated"),
    "user without password": ({"HEADRACE_REDIS__USERNAME": "u"}, "redis: username also needs password"),
    "ca without tls": ({"HEADRACE_REDIS__CA_FILE": __file__}, "redis: ca_file needs tls"),
    "missing file": ({"HEADRACE_KAFKA__CA_FILE": "/no/such"}, "kafka.ca_file .* existing file, got '/no/such'"),
    "sasl, no mechanism": (
        {
            "HEADRACE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "HEADRACE_KAFKA__USERNAME": "u",
            "HEADRACE_KAFKA__PASSWORD": "p",
        },
        "kafka: security_protocol SASL_SSL also needs sasl_mechanism$",
    ),
    "credentials in the clear": ({"HEADRACE_KAFKA__USERNAME": "u"}, "kafka: username needs security_protocol SASL_"),
    "horizon beyond a layout": (
        {"HEADRACE_COVISITATION__HORIZON_DAYS": "8191"},
        "covisitation.horizon_days .* less than or equal to 8190",
    ),
    "no boundary": ({"HEADRACE_SESSION__BOUNDARY": "none"}, "session.boundary .* 'gap' or 'client'"),
    "no moment": ({"HEADRACE_KAFKA__FROM_TIME": "2026-11-30"}, "kafka.from_time .* a moment with its zone"),
    "a moment of no zone": (
        {"HEADRACE_KAFKA__FROM_TIME": "2026-11-30T00:00"},
        "kafka.from_time .* got '2026-11-30T00:00'",
    ),
    "flink, no password": (
        {"HEADRACE_FLINK__USERNAME": "u"},
        "flink: username, and password or password_file, need each",
    ),
    "flink, no tls": ({"HEADRACE_FLINK__CA_FILE": __file__}, "flink: ca_file needs tls"),
    "nodes of one": ({"HEADRACE_REDIS__NODES": "a:1"}, "redis: nodes must be set for mode sentinel and cluster alone"),
    "cluster of none": ({"HEADRACE_REDIS__MODE": "cluster"}, "redis: nodes must be set .* got mode cluster"),
    "no master": (
        {"HEADRACE_REDIS__MODE": "sentinel", "HEADRACE_REDIS__NODES": "a:1"},
        "redis: master must be set for mode sentinel alone",
    ),
    "cluster and db": (
        {"HEADRACE_REDIS__MODE": "cluster", "HEADRACE_REDIS__NODES": "a:1,b:2", "HEADRACE_REDIS__DB": "1"},
        "redis: db must be 0 in a cluster, got 1",
    ),
    "two passwords": (
        {"HEADRACE_REDIS__PASSWORD": SECRET, "HEADRACE_REDIS__PASSWORD_FILE": __file__},
        "redis: password and password_file are both set",
    ),
    "whole section": ({"HEADRACE_KAFKA": ""}, "one variable a setting"),
    "settings file": ({"HEADRACE_SETTINGS": "/no/such"}, "HEADRACE_SETTINGS must name an existing file"),
}


@pytest.mark.parametrize(("environment", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_one_line(environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said) as caught:
        load()
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_wrong_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = _write(tmp_path / "mine.toml", "[kafka]\nfoo = 1")
    monkeypatch.setenv("HEADRACE_SETTINGS", str(named))
    with pytest.raises(SettingsError, match=rf"unknown setting kafka.foo in {named}"):
        load()
    named.write_text("[kafka")
    with pytest.raises(SettingsError, match=rf"{named} must be TOML"):
        load()


def _secured(monkeypatch: pytest.MonkeyPatch, mechanism: str) -> Settings:
    variables = {
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA__SASL_MECHANISM": mechanism,
        "KAFKA__USERNAME": "u",
        "KAFKA__PASSWORD": SECRET,
        "KAFKA__CA_FILE": __file__,
        "REDIS__USERNAME": "r",
        "REDIS__PASSWORD": SECRET,
        "REDIS__TLS": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    return load()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _secured(monkeypatch, "PLAIN")
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert "s3cret" not in repr(settings.redis.client())


def test_settings_are_frozen_and_travel_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _secured(monkeypatch, "PLAIN")
    with pytest.raises(ValueError, match="frozen"):
        settings.kafka.partitions = 3
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_password_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_REDIS__PASSWORD_FILE", str(_write(tmp_path / "secret", f"{SECRET}\n")))
    assert load().redis.arguments()["password"] == SECRET


def test_kafka_python_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().kafka.client() == {"bootstrap_servers": ["localhost:9092"], "security_protocol": "PLAINTEXT"}
    assert _secured(monkeypatch, "SCRAM-SHA-512").kafka.client() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "SASL_SSL",
        "ssl_cafile": __file__,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "u",
        "sasl_plain_password": SECRET,
    }


@pytest.mark.parametrize(
    ("mechanism", "module"), [("PLAIN", "plain.PlainLoginModule"), ("SCRAM-SHA-256", "scram.ScramLoginModule")]
)
def test_flink_connector_properties(mechanism: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = _secured(monkeypatch, mechanism).kafka.properties()
    assert properties.pop("sasl.jaas.config") == (
        f"org.apache.flink.kafka.shaded.org.apache.kafka.common.security.{module} required"
        ' username="u" password="s3cret%\\"\'\\\\";'
    )
    assert properties == {
        "bootstrap.servers": "localhost:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": __file__,
    }


def test_properties_of_ones_own_reach_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class names are Kafka's; Flink's connector has them below a package of its own."""
    login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    monkeypatch.setenv("HEADRACE_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("HEADRACE_KAFKA__SASL_MECHANISM", "OAUTHBEARER")
    java = {"sasl.jaas.config": login, "ssl.keystore.location": "/keys.pem", "client.id": "s3cret"}
    monkeypatch.setenv("HEADRACE_KAFKA__JAVA", json.dumps(java))
    python = {"ssl_certfile": "/keys.pem", "sasl_oauth_token_provider": f"{__name__}:Tokens"}
    monkeypatch.setenv("HEADRACE_KAFKA__PYTHON", json.dumps(python))
    kafka = load().kafka
    assert kafka.properties(SPARK_KAFKA)["sasl.jaas.config"] == login
    properties = kafka.properties()
    assert properties["sasl.jaas.config"] == f"org.apache.flink.kafka.shaded.{login}"
    assert (properties["sasl.mechanism"], properties["ssl.keystore.location"]) == ("OAUTHBEARER", "/keys.pem")
    assert "s3cret" not in repr(kafka)
    arguments = kafka.client()
    assert (arguments["ssl_certfile"], arguments["sasl_mechanism"]) == ("/keys.pem", "OAUTHBEARER")
    assert isinstance(arguments["sasl_oauth_token_provider"], Tokens)
    assert "sasl_plain_username" not in arguments


class Tokens:
    """Stands where kafka-python wants a token provider."""


@pytest.mark.parametrize(
    ("text", "ms"), [("", None), ("1970-01-01T00:00:01Z", 1000), ("1970-01-01T01:00:00.5+01:00", 500)]
)
def test_a_moment_to_begin_at(text: str, ms: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_KAFKA__FROM_TIME", text)
    assert load().kafka.from_ms() == ms


def test_flink_behind_tls_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load().flink.url(), load().flink.tls_context(), load().flink.headers()) == (
        "http://localhost:8081",
        None,
        {},
    )
    for name, value in {"TLS": "true", "USERNAME": "u", "PASSWORD": "p:é"}.items():
        monkeypatch.setenv(f"HEADRACE_FLINK__{name}", value)
    flink = load().flink
    assert flink.url() == "https://localhost:8081"
    assert base64.b64decode(flink.headers()["Authorization"].removeprefix("Basic ")).decode() == "u:p:é"
    context = flink.tls_context()
    assert context
    assert context.check_hostname


def test_redis_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().redis.arguments()["username"] is None
    secured = _secured(monkeypatch, "PLAIN").redis.arguments()
    assert (secured["username"], secured["password"], secured["ssl"]) == ("r", SECRET, True)
