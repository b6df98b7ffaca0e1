"""A custom Event Grid topic over HTTP or HTTPS, as much of it as a publisher sees. Keeps what it was sent.

It refuses what the service refuses: another path or api-version, a key or token that is not its own, another content
type than the schema's, and in Event Grid's schema an event that names another topic.
Shapes: https://learn.microsoft.com/azure/event-grid/post-to-custom-topic
"""

import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.canaries import secret

KEY = secret("topic-key")
TOKEN = secret("topic-token")
RESOURCE_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/aml"


@dataclass
class TopicService:
    """One topic.

    :param is_cloud: whether its input schema is CloudEvents 1.0.
    :param failing: the status that the next requests are answered with, in order.
    :param deliver: the subscriber, who gets each event as Event Grid hands it on.
    """

    is_cloud: bool = False
    failing: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    deliver: Callable[[dict[str, Any]], None] = lambda _event: None
    requests: int = 0
    endpoint: str = ""

    def answer(self, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        """Status and message."""
        self.requests += 1
        parts = urlsplit(target)
        if self.failing:
            return self.failing.pop(0), "planned"
        if parts.path != "/api/events" or parse_qs(parts.query) != {"api-version": ["2018-01-01"]}:
            return 404, "no such resource"
        if headers.get("aeg-sas-key") != KEY and headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, "the request authorization key is not authorized"
        wanted = "application/cloudevents-batch+json" if self.is_cloud else "application/json"
        if headers.get("Content-Type", "").partition(";")[0] != wanted:
            return 415, "the content type is not the input schema's"
        return self._take(json.loads(body))

    def _take(self, events: list[dict[str, Any]]) -> tuple[int, str]:
        required = {"id", "source", "type", "specversion"} if self.is_cloud else {"id", "subject", "eventType", "data"}
        if not all(required <= set(event) for event in events):
            return 400, "the input schema is another one"
        if any(event.get("topic", RESOURCE_ID) != RESOURCE_ID for event in events):
            return 400, "the event's topic is not this one"
        self.events += events
        for event in events:
            self.deliver(event if self.is_cloud else {**event, "topic": RESOURCE_ID, "metadataVersion": "1"})
        return 200, ""


@contextmanager
def serving(service: TopicService, certificate: Path | None = None) -> Iterator[TopicService]:
    """On a free port of the loopback address.

    :param certificate: a file with certificate and key, for HTTPS.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, message = service.answer(self.path, dict(self.headers), body)
            answer = json.dumps({"error": {"code": str(status), "message": message}}).encode() if message else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        service.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}/api/events"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def make_certificate(file: Path) -> Path:
    """A certificate for the loopback address that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file
