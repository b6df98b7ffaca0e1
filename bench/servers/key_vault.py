"""``python -m bench.servers.key_vault``: Azure Key Vault with one secret, and the managed identity that may read it.

The vault speaks TLS with a certificate made at the start, as SecretClient insists; the identity endpoint is App
Service's (``IDENTITY_ENDPOINT``). Both live on 127.0.0.1 and know one secret, the emulator's PAT, which is none.
"""

import argparse
import ipaddress
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.workload import PAT

HOST: Final = "127.0.0.1"
SECRET_NAME: Final = "azure-devops-pat"
IDENTITY_HEADER: Final = "bench"
VAULT_FILE: Final = "vault.txt"
CERTIFICATE_FILE: Final = "vault.pem"
_TOKEN: Final = "bench-token"
_CHALLENGE: Final = (
    'Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", '
    'resource="https://vault.azure.net"'
)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Nothing."""


class _Identity(_Answering):
    def do_GET(self) -> None:
        if self.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            self.answer(401, {})
            return
        expires_at = int((datetime.now(UTC) + timedelta(hours=24)).timestamp())
        self.answer(
            200,
            {
                "access_token": _TOKEN,
                "expires_on": str(expires_at),
                "resource": "https://vault.azure.net",
                "token_type": "Bearer",
            },
        )


class _Vault(_Answering):
    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {_TOKEN}":
            self.answer(401, {}, {"WWW-Authenticate": _CHALLENGE})
            return
        self.answer(
            200,
            {
                "value": PAT,
                "id": f"https://{self.headers['Host']}/secrets/{SECRET_NAME}/1",
                "attributes": {"enabled": True},
            },
        )


def serve(folder: Path) -> None:
    """Serve for ever. Where the vault is and its certificate are written to the folder first."""
    vault = ThreadingHTTPServer((HOST, 0), _Vault)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder / CERTIFICATE_FILE))
    vault.socket = context.wrap_socket(vault.socket, server_side=True)
    (folder / VAULT_FILE).write_text(f"https://{HOST}:{vault.server_port}", encoding="ascii")
    identity = ThreadingHTTPServer((HOST, 0), _Identity)
    threading.Thread(target=vault.serve_forever, daemon=True).start()
    print(f"bench.key_vault: http://{HOST}:{identity.server_port}/msi/token", flush=True)
    identity.serve_forever()


def _certificate(file: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    file.chmod(0o600)
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.servers.key_vault")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, help="taken for the sake of devstack.processes; always a free one")
    serve(parser.parse_args().folder)
