"""How to reach Flink's REST API, and how jobs run there: the section [flink] of the settings."""

import base64
import ssl
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from headrace.infra.connections import Credentials, ExistingFile, Positive, Prefix, addresses


class Flink(Credentials):
    """The JobManager's REST API, and how jobs run there."""

    rest: Annotated[str, AfterValidator(addresses)]
    prefix: Prefix
    tls: bool
    ca_file: ExistingFile
    parallelism: Positive
    state_backend: Literal["hashmap", "rocksdb"]
    checkpoint_interval_s: Positive
    bundle_time_ms: Positive
    bundle_size: Positive
    idle_timeout_s: Positive

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.username) != self.has_password():
            raise ValueError("username, and password or password_file, need each other")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file needs tls = true")
        return self

    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.rest}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Returns what checks the server's certificate and name; None without TLS."""
        return ssl.create_default_context(cafile=self.ca_file or None) if self.tls else None

    def headers(self) -> dict[str, str]:
        """Returns the header that names the user, as HTTP's basic authentication wants it; none without a user."""
        if not self.username:
            return {}
        token = base64.b64encode(f"{self.username}:{self.secret()}".encode()).decode()
        return {"Authorization": f"Basic {token}"}
