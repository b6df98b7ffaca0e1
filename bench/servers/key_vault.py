"""``python -m bench.servers.key_vault``: Azure Key Vault with one secret, and the managed identity that may read it.

The vault speaks TLS, as SecretClient insists, with a certificate of an authority made at the start; the identity
endpoint is App Service's (``IDENTITY_ENDPOINT``). Both live on 127.0.0.1 and know one secret, the emulator's PAT,
which is none.
"""

import argparse
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import trustme

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
    authority = trustme.CA()
    authority.issue_cert(HOST).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / CERTIFICATE_FILE))
    vault.socket = context.wrap_socket(vault.socket, server_side=True)
    (folder / VAULT_FILE).write_text(f"https://{HOST}:{vault.server_port}", encoding="ascii")
    identity = ThreadingHTTPServer((HOST, 0), _Identity)
    threading.Thread(target=vault.serve_forever, daemon=True).start()
    print(f"bench.key_vault: http://{HOST}:{identity.server_port}/msi/token", flush=True)
    identity.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.servers.key_vault")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, help="taken for the sake of devstack.processes; always a free one")
    serve(parser.parse_args().folder)
