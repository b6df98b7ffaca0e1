"""``python -m bench.servers.key_vault``: serve a Key Vault with one secret, and a managed identity that may read it.

The vault uses TLS, because SecretClient requires it, with a certificate from an authority that is created at the start.
The identity endpoint is that of App Service (``IDENTITY_ENDPOINT``). Both listen on 127.0.0.1. The secret is the
emulator's PAT, which is public.
"""

import argparse
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme
from werkzeug.wrappers import Request, Response

from bench.workload import PAT
from devstack.http_server import HOST, Server

SECRET_NAME: Final = "azure-devops-pat"
IDENTITY_HEADER: Final = "bench"
VAULT_FILE: Final = "vault.txt"
CERTIFICATE_FILE: Final = "vault.pem"
_TOKEN: Final = "bench-token"
_CHALLENGE: Final = (
    'Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", '
    'resource="https://vault.azure.net"'
)


@Request.application
def _identity(request: Request) -> Response:
    if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
        return Response(status=401)
    expires_at = int((datetime.now(UTC) + timedelta(hours=24)).timestamp())
    token = {"access_token": _TOKEN, "expires_on": str(expires_at), "token_type": "Bearer"}
    return _document({**token, "resource": "https://vault.azure.net"})


@Request.application
def _vault(request: Request) -> Response:
    if request.headers.get("Authorization") != f"Bearer {_TOKEN}":
        return Response(status=401, headers={"WWW-Authenticate": _CHALLENGE})
    secret_id = f"{request.host_url}secrets/{SECRET_NAME}/1"
    return _document({"value": PAT, "id": secret_id, "attributes": {"enabled": True}})


def _document(document: dict[str, object]) -> Response:
    return Response(json.dumps(document), mimetype="application/json")


def serve(folder: Path) -> None:
    """Write the vault's URL and certificate to the folder, then serve until the process is stopped."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert(HOST).configure_cert(tls)
    authority.cert_pem.write_to_path(str(folder / CERTIFICATE_FILE))
    (folder / VAULT_FILE).write_text(Server(_vault, tls=tls).url, encoding="ascii")
    print(f"bench.key_vault: {Server(_identity).url}/msi/token", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.servers.key_vault")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(
        "--port", type=int, help="ignored; devstack.processes passes it, and the server takes a free port"
    )
    serve(parser.parse_args().folder)
