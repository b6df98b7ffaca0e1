"""An Event Grid custom topic that takes CloudEvents, over HTTP or HTTPS: refuses what Event Grid would refuse.

Shapes: https://learn.microsoft.com/azure/event-grid/post-to-custom-topic and .../cloud-event-schema
"""

import json
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import ValidationError

from tests import contracts

CONTENT_TYPE = "application/cloudevents-batch+json"
MAX_BYTES = 1_000_000
_PATIENCE_SECONDS = 20.0


@dataclass
class CustomTopic:
    """One topic and what it was sent.

    :param key: what ``aeg-sas-key`` must say; None: a key does not open it.
    :param token: what the bearer token must be; None: a token does not open it.
    :param statuses: what the next requests are answered, in order; after the last, what they deserve.
    :param headers: of each such answer.
    """

    key: str | None = None
    token: str | None = None
    statuses: deque[int] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    url: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    """Cleared: requests wait for their answer."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.open.set()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The events, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, _PATIENCE_SECONDS), self.answered
            return list(self.events)

    def take(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status that the request is answered with."""
        self.arrived.set()
        self.open.wait(_PATIENCE_SECONDS)
        with self._changed:
            status = self.statuses.popleft() if self.statuses else self._deserved(method, target, headers, body)
            if status == 200:
                self.events += json.loads(body)
            self.answered.append(status)
            self._changed.notify_all()
        return status

    def _deserved(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> int:
        url = urlsplit(target)
        wrong = [
            (404, url.path != "/api/events" or method != "POST"),
            (400, parse_qs(url.query) != {"api-version": ["2018-01-01"]}),
            (401, not self._lets_in(headers)),
            (413, len(body) > MAX_BYTES),
            (415, headers.get("Content-Type", "").partition(";")[0] != CONTENT_TYPE),
            (400, not _are_cloud_events(body)),
        ]
        return next((status for status, is_so in wrong if is_so), 200)

    def _lets_in(self, headers: Mapping[str, str]) -> bool:
        key, authorization = headers.get("aeg-sas-key"), headers.get("Authorization")
        by_key = self.key is not None and key == self.key and authorization is None
        return by_key or (self.token is not None and authorization == f"Bearer {self.token}" and key is None)


def _are_cloud_events(body: bytes) -> bool:
    try:
        contracts.validate("cloudevents_batch", json.loads(body))
    except (ValueError, ValidationError):
        return False
    return True


@contextmanager
def serving(topic: CustomTopic, certificate: ssl.SSLContext | None = None) -> Iterator[CustomTopic]:
    """On a free port of the loopback address; with a certificate over HTTPS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(topic.take(self.command, self.path, dict(self.headers), body))
            for name, value in topic.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815 - the base class looks for these names

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            server.socket = certificate.wrap_socket(server.socket, server_side=True)
        topic.url = f"http{'s' if certificate else ''}://localhost:{server.server_address[1]}/api/events"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield topic
        finally:
            topic.open.set()
            server.shutdown()
            thread.join()
