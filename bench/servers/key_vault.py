"""``python -m bench.servers.key_vault``: Azure Key Vault with one secret, and the managed identity that may read it.

The vault speaks TLS, as SecretClient insists, with a certificate of an authority made at the start; the identity
endpoint is App Service's (``IDENTITY_ENDPOINT``). Both live on 127.0.0.1 and know one secret, the emulator's PAT,
which is none.
"""

import argparse
import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Final

import trustme
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from bench.workload import PAT

HOST: Final = "127.0.0.1"
SECRET_NAME: Final = "azure-devops-pat"
IDENTITY_HEADER: Final = "bench"
VAULT_FILE: Final = "vault.txt"
CERTIFICATE_FILE: Final = "vault.pem"
_AUDIENCE: Final = "https://vault.azure.net"
_TOKEN: Final = "bench-token"
_CHALLENGE: Final = (
    f'Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", '
    f'resource="{_AUDIENCE}"'
)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept open

    def log_request(self, *_: Any) -> None:
        """Nothing."""


@Request.application
def _identity(request: Request) -> Response:
    if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
        return Response(status=401)
    expires_on = str(int(time.time()) + 86_400)
    token = {"access_token": _TOKEN, "expires_on": expires_on, "resource": _AUDIENCE, "token_type": "Bearer"}
    return Response(json.dumps(token), mimetype="application/json")


@Request.application
def _vault(request: Request) -> Response:
    if request.headers.get("Authorization") != f"Bearer {_TOKEN}":
        return Response(status=401, headers={"WWW-Authenticate": _CHALLENGE})
    secret = {"value": PAT, "id": f"{request.host_url}secrets/{SECRET_NAME}/1", "attributes": {"enabled": True}}
    return Response(json.dumps(secret), mimetype="application/json")


def serve(folder: Path) -> None:
    """Serve for ever. Where the vault is and its certificate are written to the folder first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert(HOST).configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / CERTIFICATE_FILE))
    vault = make_server(HOST, 0, _vault, threaded=True, request_handler=_Handler, ssl_context=context)
    (folder / VAULT_FILE).write_text(f"https://{HOST}:{vault.server_port}", encoding="ascii")
    identity = make_server(HOST, 0, _identity, threaded=True, request_handler=_Handler)
    threading.Thread(target=vault.serve_forever, daemon=True).start()
    print(f"bench.key_vault: http://{HOST}:{identity.server_port}/msi/token", flush=True)
    identity.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.servers.key_vault")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, help="taken for the sake of devstack.processes; always a free one")
    serve(parser.parse_args().folder)
