"""Azure Blob storage over HTTP, as much of it as a reader of a container needs: list, page by page, and get.

Two ways in: a signature in the query, and an Authorization header with a shared key (which is not verified).
Shapes: https://learn.microsoft.com/rest/api/storageservices/list-blobs and .../get-blob
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.canaries import secret

ACCOUNT = "devaccount"
CONTAINER = "dead-letters"
SIGNATURE = secret("signature")
PAGE_SIZE = 2


@dataclass
class BlobService:
    """One account with one container.

    :param failing: the status with which blobs of these names are refused.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def account_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def url(self) -> str:
        return f"{self.account_url}/{CONTAINER}"

    @property
    def signed_url(self) -> str:
        return f"{self.url}?sv=2025-11-05&sp=rl&sig={SIGNATURE}"

    @property
    def connection_string(self) -> str:
        return f"AccountName={ACCOUNT};AccountKey=Y2FuYXJ5LWtleQ==;BlobEndpoint={self.account_url};"

    def answer(self, target: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """Status, what it is (a content type or an error code), and body."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, account, container, *name = unquote(parts.path).split("/", 3)
        self.requests.append(f"{query.get('comp', 'get')} {'/'.join(name)}".strip())
        if query.get("sig") != SIGNATURE and not headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:"):
            return 403, "AuthenticationFailed", b""
        if (account, container) != (ACCOUNT, CONTAINER):
            return 404, "ContainerNotFound", b""
        if not name:
            return 200, "application/xml", self._list(query.get("prefix", ""), query.get("marker", "")).encode()
        return self._get(name[0], "x-ms-range" in headers)

    def _get(self, name: str, is_range: bool) -> tuple[int, str, bytes]:
        if name in self.failing:
            return self.failing[name], "InternalError", b""
        content = self.blobs[name]
        if is_range and not content:
            return 416, "InvalidRange", b""
        return 206 if is_range else 200, "application/json", content

    def _list(self, prefix: str, marker: str) -> str:
        names = [name for name in sorted(self.blobs) if name.startswith(prefix) and name >= marker]
        page, rest = names[:PAGE_SIZE], names[PAGE_SIZE:]
        entries = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{len(self.blobs[name])}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in page
        )
        return (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{CONTAINER}">'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{entries}</Blobs>"
            f"<NextMarker>{escape(rest[0]) if rest else ''}</NextMarker></EnumerationResults>"
        )


@contextmanager
def serving(service: BlobService) -> Iterator[BlobService]:
    """On a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, body = service.answer(self.path, dict(self.headers))
            self.send_response(status)
            if status == 200:
                self.send_header("Content-Type", kind)
            elif status == 206:  # the library asks for the first 32 MiB, which is all that there is
                self.send_header("Content-Type", kind)
                self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
            else:
                self.send_header("x-ms-error-code", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing: the request line holds the signature."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
