"""How to reach Kafka and Redis: addresses, TLS and credentials, as each client library wants them."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from headrace.infra import extensions, settings_files
from headrace.infra.prefixed_redis import prefix_keys

if TYPE_CHECKING:
    from redis import Redis as RedisClient

Servers = list[tuple[str, int]]
Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(gt=0)]
Prefix = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9._-]{0,99}\.)?$")
]  # of a shop: the dot keeps it apart from our own names
NonNegative = Annotated[int, Field(ge=0)]
PASSWORDS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")  # mechanisms of SASL with a user and a password
# Flink's connector carries the Kafka client under a package name of its own.
FLINK_KAFKA, SPARK_KAFKA = "org.apache.flink.kafka.shaded.org.apache.kafka", "org.apache.kafka"


def _existing_file(path: str) -> str:
    if path and not Path(path).is_file():
        raise ValueError("must name an existing file")
    return path


def addresses(text: str) -> str:
    if not re.fullmatch(r"[^,:\s]+:\d+(,[^,:\s]+:\d+)*", text):
        raise ValueError("must be host:port")
    return text


def _moment(text: str) -> str:
    try:
        if text and datetime.fromisoformat(text).tzinfo is None:
            raise ValueError
    except ValueError:
        raise ValueError("must be a moment with its zone, such as 2026-11-30T00:00Z") from None
    return text


def _some_addresses(text: str) -> str:
    return addresses(text) if text else text


class Beside:
    """Marks a setting that names a file or folder. A relative path is relative to the file that sets it."""


FileName = Annotated[str, Beside()]
ExistingFile = Annotated[str, Beside(), AfterValidator(_existing_file)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Credentials(Section):
    """A user's name and password. The password comes from the environment or `password_file`, and is in no repr."""

    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: ExistingFile = ""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file and self.password.get_secret_value():
            raise ValueError("password and password_file are both set: keep one")
        return self

    def secret(self) -> str:
        if self.password_file:
            return Path(self.password_file).read_text().rstrip("\r\n")
        variable = f"{settings_files.ENV_PREFIX}{type(self).__name__.upper()}__PASSWORD"
        return self.password.get_secret_value() or os.environ.get(variable, "")

    def sealed(self) -> Self:
        """Returns these settings without the password, to travel in a job graph. `secret` reads it where it runs."""
        return self.model_copy(update={"password": SecretStr("")})

    def has_password(self) -> bool:
        return bool(self.password_file or self.password.get_secret_value())


class Kafka(Credentials):
    bootstrap: Annotated[str, AfterValidator(addresses)]  # host:port, several with commas between
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "AWS_MSK_IAM"]
    ca_file: ExistingFile
    partitions: Positive
    retention_h: Positive
    transaction_timeout_s: Positive
    prefix: Prefix
    from_time: Annotated[str, AfterValidator(_moment)]
    java: dict[str, SecretStr]
    python: Annotated[dict[str, Any], Field(repr=False)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sasl = {"sasl_mechanism": bool(self.sasl_mechanism)}
        if self.sasl_mechanism in ("", *PASSWORDS):  # the others are told the rest by `java` and `python`
            sasl |= {"username": bool(self.username), "password or password_file": self.has_password()}
        if self.security_protocol.startswith("SASL_"):
            if missing := [name for name, there in sasl.items() if not there]:
                raise ValueError(f"security_protocol {self.security_protocol} also needs {', '.join(missing)}")
        elif extra := [name for name, there in sasl.items() if there]:
            raise ValueError(f"{', '.join(extra)} needs security_protocol SASL_PLAINTEXT or SASL_SSL")
        if self.ca_file and not self._tls():
            raise ValueError("ca_file needs security_protocol SSL or SASL_SSL")
        return self

    def _tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    def name(self, name: str) -> str:
        """Returns what Kafka calls a topic, a consumer group or a transaction of ours."""
        return self.prefix + name

    def client(self) -> dict[str, Any]:
        """Returns the keyword arguments of kafka-python's clients."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
        }
        if self.ca_file:
            arguments["ssl_cafile"] = self.ca_file
        if self.sasl_mechanism:
            arguments["sasl_mechanism"] = self.sasl_mechanism
        if self.sasl_mechanism in PASSWORDS:
            arguments["sasl_plain_username"] = self.username
            arguments["sasl_plain_password"] = self.secret()
        return arguments | {name: _argument(name, value) for name, value in self.python.items()}

    def properties(self, package: str = FLINK_KAFKA) -> dict[str, str]:
        """Returns the properties of a Java client with its classes in `package`."""
        properties = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        if self.ca_file:
            properties |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": self.ca_file}
        if self.sasl_mechanism:
            properties["sasl.mechanism"] = self.sasl_mechanism
        if self.sasl_mechanism in PASSWORDS:
            properties["sasl.jaas.config"] = self._jaas(package)
        given = {name: value.get_secret_value() for name, value in self.java.items()}
        return properties | {name: value.replace(f"{SPARK_KAFKA}.", f"{package}.") for name, value in given.items()}

    def from_ms(self) -> int | None:
        """Returns from_time in ms since 1970; None if it is empty."""
        return (
            int(datetime.fromisoformat(self.from_time).astimezone(UTC).timestamp() * 1000) if self.from_time else None
        )

    def _jaas(self, package: str) -> str:
        module = "plain.PlainLoginModule" if self.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        username, password = (
            value.replace("\\", r"\\").replace('"', r"\"") for value in (self.username, self.secret())
        )
        return f'{package}.common.security.{module} required username="{username}" password="{password}";'


def _argument(name: str, value: Any) -> Any:
    """A token provider is named module:NAME: an object, or a class of one."""
    if name != "sasl_oauth_token_provider" or not isinstance(value, str):
        return value
    provider = extensions.resolve(f"kafka.python.{name}", value)
    return provider() if isinstance(provider, type) else provider


class Redis(Credentials):
    host: Annotated[str, Field(min_length=1)]
    port: Port
    mode: Literal["standalone", "sentinel", "cluster"]
    nodes: Annotated[str, AfterValidator(_some_addresses)]
    master: str
    db: NonNegative
    key_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]*$")]
    tls: bool
    ca_file: ExistingFile
    timeout_s: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.username and not self.has_password():
            raise ValueError("username also needs password or password_file")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file needs tls = true")
        if (self.mode == "standalone") == bool(self.nodes):
            raise ValueError(f"nodes must be set for mode sentinel and cluster alone, got mode {self.mode}")
        if (self.mode == "sentinel") != bool(self.master):
            raise ValueError(f"master must be set for mode sentinel alone, got mode {self.mode}")
        if self.mode == "cluster" and self.db:
            raise ValueError(f"db must be 0 in a cluster, got {self.db}")
        return self

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of redis-py's clients and connections."""
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.db,
            "username": self.username or None,
            "password": self.secret() or None,
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s,
        }
        if self.tls:
            arguments |= {"ssl": True, "ssl_ca_certs": self.ca_file or None}
        return arguments

    def client(self, **extra: Any) -> "RedisClient":
        """Returns a client of the server, of the master that the sentinels name, or of the cluster.

        Every key begins with key_prefix, of which who uses the client knows nothing.
        """
        client = self._client(self.arguments() | extra)
        return prefix_keys(client, self.key_prefix) if self.key_prefix else client  # type: ignore[no-any-return]

    def _client(self, arguments: dict[str, Any]) -> Any:
        import redis

        if self.mode == "standalone":
            return redis.Redis(**arguments)
        servers = [(host, int(port)) for host, _, port in (node.rpartition(":") for node in self.nodes.split(","))]
        of_server = {name: value for name, value in arguments.items() if name not in ("host", "port")}
        return self._sentinels(servers, of_server) if self.mode == "sentinel" else _cluster(servers, of_server)

    def _sentinels(self, servers: Servers, arguments: dict[str, Any]) -> Any:
        """Sentinels are reached with the same TLS and times, but without the data's user."""
        from redis import Sentinel

        of_sentinels = {name: value for name, value in arguments.items() if name not in ("username", "password", "db")}
        sentinel: Any = Sentinel
        return sentinel(servers, sentinel_kwargs=of_sentinels).master_for(self.master, **arguments)


def _cluster(servers: Servers, arguments: dict[str, Any]) -> Any:
    from redis.cluster import ClusterNode, RedisCluster

    node: Any = ClusterNode
    del arguments["db"]
    return RedisCluster(startup_nodes=[node(host, port) for host, port in servers], **arguments)
