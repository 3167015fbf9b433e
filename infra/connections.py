"""How to reach Kafka and Redis: addresses, TLS and credentials, as each client library wants them."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from headrace.infra import settings_files

if TYPE_CHECKING:
    from redis import Redis as RedisClient

Port = Annotated[int, Field(ge=1, le=65535)]
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
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
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    ca_file: ExistingFile
    partitions: Positive
    retention_h: Positive
    transaction_timeout_s: Positive

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sasl = {
            "sasl_mechanism": bool(self.sasl_mechanism),
            "username": bool(self.username),
            "password or password_file": self.has_password(),
        }
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
            arguments["sasl_plain_username"] = self.username
            arguments["sasl_plain_password"] = self.secret()
        return arguments

    def properties(self, package: str = FLINK_KAFKA) -> dict[str, str]:
        """Returns the properties of a Java client with its classes in `package`."""
        properties = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security_protocol}
        if self.ca_file:
            properties |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": self.ca_file}
        if self.sasl_mechanism:
            properties |= {"sasl.mechanism": self.sasl_mechanism, "sasl.jaas.config": self._jaas(package)}
        return properties

    def _jaas(self, package: str) -> str:
        module = "plain.PlainLoginModule" if self.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        username, password = (
            value.replace("\\", r"\\").replace('"', r"\"") for value in (self.username, self.secret())
        )
        return f'{package}.common.security.{module} required username="{username}" password="{password}";'


class Redis(Credentials):
    host: Annotated[str, Field(min_length=1)]
    port: Port
    db: NonNegative
    tls: bool
    ca_file: ExistingFile
    timeout_s: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.username and not self.has_password():
            raise ValueError("username also needs password or password_file")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file needs tls = true")
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
        from redis import Redis as RedisClient

        return RedisClient(**(self.arguments() | extra))
