"""Azure ML's endpoint for managed identities, as a compute has it: what azure-identity asks on MSI_ENDPOINT."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.support.canaries import secret


@dataclass
class ManagedIdentity:
    """What was asked for, and what a process needs in its environment to ask."""

    environment: dict[str, str]
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def managed_identity(token: str) -> Iterator[ManagedIdentity]:
    """Give this token to whoever knows the secret, for as long as the block lasts."""
    key = secret("msi")
    served = ManagedIdentity({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            served.asked.append(query)
            good = self.headers.get("secret") == key
            expires_on = str(int(time.time()) + 3600)
            body = {
                "access_token": token,
                "expires_on": expires_on,
                "resource": query["resource"],
                "token_type": "Bearer",
            }
            content = json.dumps(body if good else {"error": "no"}).encode()
            self.send_response(200 if good else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    served.environment = {
        "MSI_ENDPOINT": f"http://127.0.0.1:{server.server_port}/msi/token",
        "MSI_SECRET": key,
        "DEFAULT_IDENTITY_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
