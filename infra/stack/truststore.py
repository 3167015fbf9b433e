"""The certificates that Flink's client trusts, in the form that Java wants."""

import re
import subprocess
from pathlib import Path

from headrace.infra.errors import HeadraceError
from headrace.infra.stack import programs

PASSWORD = "changeit"  # Java's own; it protects public certificates from nobody
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def options(ca_file: str, folder: Path) -> str:
    """Returns the lines of a Flink configuration for a REST API behind TLS. An empty ca_file: Java's authorities."""
    store = _made(Path(ca_file), folder / "truststore.p12") if ca_file else _java_home() / "lib/security/cacerts"
    return (
        f'security.ssl.rest.enabled: true\nsecurity.ssl.rest.truststore: "{store}"\n'
        f"security.ssl.rest.truststore-password: {PASSWORD}\n"
    )


def _made(ca_file: Path, store: Path) -> Path:
    store.unlink(missing_ok=True)
    found = CERTIFICATE.findall(ca_file.read_text())
    if not found:
        raise HeadraceError(f"flink.ca_file must hold certificates in PEM, got none in {ca_file}")
    for number, certificate in enumerate(found):
        _keytool("-importcert", "-noprompt", "-alias", f"{number}", "-keystore", str(store), input_=certificate)
    return store


def _keytool(*arguments: str, input_: str) -> None:
    command = [str(_java_home() / "bin" / "keytool"), *arguments, "-storetype", "PKCS12", "-storepass", PASSWORD]
    done = subprocess.run(command, input=input_, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise HeadraceError(f"keytool does not take a certificate of flink.ca_file: {done.stdout.strip()}")


def _java_home() -> Path:
    return Path(programs.java()).resolve().parents[1]
