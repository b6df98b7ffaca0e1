"""A custom topic of Event Grid, over HTTP or HTTPS: it refuses what Event Grid would refuse, and keeps the rest.

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
# Named as the first part of its host is.
RESOURCE_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/127"
MAX_BYTES = 1_000_000
_PATIENCE_SECONDS = 20.0


@dataclass
class CustomTopic:
    """One topic and what it was sent. ``KEY`` opens it, or else ``TOKEN``.

    :param is_cloud: whether its input schema is CloudEvents 1.0, and not Event Grid's.
    :param statuses: what the next requests are answered, in order; after the last, what they deserve.
    :param headers: of each answer.
    :param deliver: the subscriber, which gets each event as Event Grid hands it on.
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
    """Cleared: requests wait for their answer."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.open.set()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Return the events, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, _PATIENCE_SECONDS), self.answered
            return list(self.events)

    def answer(self, request: Request) -> Response:
        """Take what is published, or refuse it."""
        self.arrived.set()
        self.open.wait(_PATIENCE_SECONDS)
        with self._changed:
            status, message = (self.statuses.popleft(), "planned") if self.statuses else self._deserved(request)
            events = json.loads(request.get_data()) if status == 200 else []
            self.events += events
            self.answered.append(status)
            self._changed.notify_all()
        for event in events:
            self.deliver(event if self.is_cloud else {**event, "topic": RESOURCE_ID, "metadataVersion": "1"})
        body = json.dumps({"error": {"code": str(status), "message": message}}) if message else ""
        return Response(body, status, self.headers, mimetype="application/json")

    def _deserved(self, request: Request) -> tuple[int, str]:
        """Return the status, and the message of a refusal."""
        kind = "application/cloudevents-batch+json" if self.is_cloud else "application/json"
        wrong = [
            (404, "no such resource", request.path != "/api/events" or request.method != "POST"),
            (400, "no such api-version", request.args.to_dict(flat=False) != {"api-version": ["2018-01-01"]}),
            (401, "the request authorization key is not authorized", not _lets_in(request)),
            (413, "too large", len(request.get_data()) > MAX_BYTES),
            (415, "the content type is not the input schema's", request.mimetype != kind),
            (400, "the events are not of the input schema", not self._fit(request.get_data())),
        ]
        return next(((status, message) for status, message, is_so in wrong if is_so), (200, ""))

    def _fit(self, body: bytes) -> bool:
        try:
            events = json.loads(body)
            contracts.validate("cloudevents_batch" if self.is_cloud else "eventgrid_events", events)
        except (ValueError, ValidationError):
            return False
        return self.is_cloud or all(event.get("topic", RESOURCE_ID) == RESOURCE_ID for event in events)


def _lets_in(request: Request) -> bool:
    shown = request.headers.get("aeg-sas-key"), request.headers.get("Authorization")
    return shown in {(KEY, None), (None, f"Bearer {TOKEN}")}


@contextmanager
def serving_topic(topic: CustomTopic, tls: ssl.SSLContext | None = None) -> Iterator[CustomTopic]:
    """Serve on a free port of the loopback address; with a certificate over HTTPS."""
    with serving(Request.application(topic.answer), tls=tls) as server:
        topic.url = f"{server.url}/api/events"
        try:
            yield topic
        finally:
            topic.open.set()


def certificate(authority_file: Path) -> ssl.SSLContext:
    """Return a certificate for the loopback address; the authority that vouches for it is written to the file."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    authority.cert_pem.write_to_path(str(authority_file))
    return tls
