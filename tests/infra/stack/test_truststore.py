"""The certificates of flink.ca_file in Java's form: all of them, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from headrace.infra.errors import HeadraceError
from headrace.infra.stack import truststore


def certificate(folder: Path, name: str) -> str:
    names = ["-subj", f"/CN={name}", "-keyout", "key.pem", "-out", f"{name}.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / f"{name}.pem").read_text()


def test_every_certificate_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(certificate(tmp_path, "first") + "\nnoise\n" + certificate(tmp_path, "second"))
    for _ in range(2):  # a second submission begins again
        lines = truststore.options(str(tmp_path / "ca.pem"), tmp_path)
    store = tmp_path / "truststore.p12"
    assert f'security.ssl.rest.truststore: "{store}"' in lines
    keytool = str(truststore._java_home() / "bin" / "keytool")
    command = [keytool, "-list", "-v", "-keystore", str(store), "-storepass", truststore.PASSWORD]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "contains 2 entries" in listed
    assert {"Owner: CN=first", "Owner: CN=second"} <= set(listed.splitlines())


def test_without_a_file_java_knows_whom_to_trust(tmp_path: Path) -> None:
    assert "/lib/security/cacerts" in truststore.options("", tmp_path)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(HeadraceError, match="must hold certificates in PEM"):
        truststore.options(str(tmp_path / "ca.pem"), tmp_path)
