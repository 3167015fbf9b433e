"""Flink's REST API behind TLS and a password, as a proxy in front of it has them."""

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from headrace.infra.clients import flink
from headrace.infra.errors import HeadraceError
from headrace.infra.settings import load

AUTHORIZED = "Basic c2hvcDpzM2NyZXQ="  # shop:s3cret


class Proxy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Authorization"] == AUTHORIZED
        body = json.dumps({"jobs": []} if known else {"errors": ["who are you?"]}).encode()
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_the_server_is_checked_and_the_user_named(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REST": f"127.0.0.1:{port}", "TLS": "true", "CA_FILE": str(tmp_path / "ca.pem")}.items():
        monkeypatch.setenv(f"HEADRACE_FLINK__{name}", value)
    with pytest.raises(HeadraceError, match="answered 401 to /jobs/overview: who are you"):
        flink.jobs(load().flink)
    monkeypatch.setenv("HEADRACE_FLINK__USERNAME", "shop")
    monkeypatch.setenv("HEADRACE_FLINK__PASSWORD", "s3cret")
    assert flink.jobs(load().flink) == []
    monkeypatch.setenv("HEADRACE_FLINK__REST", f"localhost:{port}")  # not the name in the certificate
    with pytest.raises(HeadraceError, match=r"no Flink at localhost.*Hostname mismatch"):
        flink.jobs(load().flink)
    monkeypatch.delenv("HEADRACE_FLINK__CA_FILE")
    with pytest.raises(HeadraceError, match=r"no Flink at localhost.*certificate verify failed"):
        flink.jobs(load().flink)
