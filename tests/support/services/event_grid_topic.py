"""A custom topic of Event Grid, over HTTP or HTTPS. It refuses what Event Grid would refuse, and stores the rest.

Shapes: https://learn.microsoft.com/azure/event-grid/post-to-custom-topic and .../cloud-event-schema
"""

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from jsonschema import ValidationError
from werkzeug.wrappers import Request, Response

from devstack.http_server import HOST, serving
from tests import contracts
from tests.support.canaries import secret

KEY = secret("topic-key")
TOKEN = secret("topic-token")
# The name is the first part of the host.
RESOURCE_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/127"
MAX_BYTES = 1_000_000
_PATIENCE_SECONDS = 20.0


@dataclass
class CustomTopic:
    """A topic and the events it has received. It accepts ``KEY`` or ``TOKEN``.

    :param is_cloud: True if its input schema is CloudEvents 1.0, False if it is Event Grid's.
    :param statuses: status codes of the next answers, in order. After the last one, requests are checked.
    :param headers: headers of each answer.
    :param deliver: the subscriber, which is called with each event as Event Grid delivers it.
    """

    is_cloud: bool = True
    statuses: deque[int] = field(default_factory=deque)
    headers: dict[str, str] = field(default_factory=dict)
    deliver: Callable[[dict[str, Any]], None] = lambda _event: None
    events: list[dict[str, Any]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    url: str = ""
    arrived: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)
    """While this is cleared, requests wait for their answer."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.open.set()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait for this number of events and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, _PATIENCE_SECONDS), self.answered
            return list(self.events)

    def answer(self, request: Request) -> Response:
        """Accept the published events, or refuse them."""
        self.arrived.set()
        self.open.wait(_PATIENCE_SECONDS)
        with self._changed:
            status, message = (self.statuses.popleft(), "planned") if self.statuses else self._check(request)
            events = json.loads(request.get_data()) if status == 200 else []
            self.events += events
            self.answered.append(status)
            self._changed.notify_all()
        for event in events:
            self.deliver(event if self.is_cloud else {**event, "topic": RESOURCE_ID, "metadataVersion": "1"})
        body = json.dumps({"error": {"code": str(status), "message": message}}) if message else ""
        return Response(body, status, self.headers, mimetype="application/json")

    def _check(self, request: Request) -> tuple[int, str]:
        """Return the status, and the message if the request is refused."""
        kind = "application/cloudevents-batch+json" if self.is_cloud else "application/json"
        problems = [
            (404, "no such resource", request.path != "/api/events" or request.method != "POST"),
            (400, "no such api-version", request.args.to_dict(flat=False) != {"api-version": ["2018-01-01"]}),
            (401, "the request authorization key is not authorized", not _is_authorized(request)),
            (413, "too large", len(request.get_data()) > MAX_BYTES),
            (415, "the content type is not the input schema's", request.mimetype != kind),
            (400, "the events are not of the input schema", not self._is_valid(request.get_data())),
        ]
        return next(((status, message) for status, message, exists in problems if exists), (200, ""))

    def _is_valid(self, body: bytes) -> bool:
        try:
            events = json.loads(body)
            contracts.validate("cloudevents_batch" if self.is_cloud else "eventgrid_events", events)
        except (ValueError, ValidationError):
            return False
        return self.is_cloud or all(event.get("topic", RESOURCE_ID) == RESOURCE_ID for event in events)


def _is_authorized(request: Request) -> bool:
    credentials = request.headers.get("aeg-sas-key"), request.headers.get("Authorization")
    return credentials in {(KEY, None), (None, f"Bearer {TOKEN}")}


@contextmanager
def serving_topic(topic: CustomTopic, tls: ssl.SSLContext | None = None) -> Iterator[CustomTopic]:
    """Serve on a free port of the loopback address, over HTTPS if a certificate is given."""
    with serving(Request.application(topic.answer), tls=tls) as server:
        topic.url = f"{server.url}/api/events"
        try:
            yield topic
        finally:
            topic.open.set()


def certificate(authority_file: Path) -> ssl.SSLContext:
    """Return a certificate for the loopback address, and write the certificate of its authority to the file."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    authority.cert_pem.write_to_path(str(authority_file))
    return tls
