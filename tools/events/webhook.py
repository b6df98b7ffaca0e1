"""A client for the function app's Event Grid endpoint, which calls it as Event Grid does.

The endpoint is ``/runtime/webhooks/eventgrid?functionName=<name>``. In Azure, it requires the system key
``eventgrid_extension``. Event Grid sends the key as ``code`` in the query. The host also accepts the header
``x-functions-key``, which keeps the key out of logs.
Source: Azure Functions docs, event-grid-how-tos and functions-bindings-http-webhook-trigger.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import requests

from shared.http.environment import environment_settings
from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, schema_of
from tools.events.endpoints import cause_of, is_safe_address

DEFAULT_URL: Final = "http://127.0.0.1:7071"
URL_VARIABLE: Final = "NEXTSTAGE_URL"
DEFAULT_FUNCTION: Final = "aml_event"
KEY_VARIABLE: Final = "EVENTGRID_EXTENSION_KEY"
PATH: Final = "/runtime/webhooks/eventgrid"

# Event Grid waits 30 s for an answer. The host may use part of that time to start.
TIMEOUT_SECONDS: Final = (5, 35)
_ORIGIN: Final = "eventgrid.azure.net"
_MAX_SHOWN: Final = 300
_CONTENT_TYPES: Final = {
    Schema.EVENT_GRID: "application/json; charset=utf-8",
    Schema.CLOUD: "application/cloudevents+json; charset=utf-8",
}

CHECK_THE_APP: Final = "check that this is the function app"
HINTS: Final = {
    401: f"set {KEY_VARIABLE} to the app's system key eventgrid_extension",
    403: f"set {KEY_VARIABLE} to the app's system key eventgrid_extension",
    404: f"{CHECK_THE_APP}, and that it has this function",
}
"""The next step for a status of the host; for others, ``CHECK_THE_APP``."""


class HostUnreachable(Exception):
    """The host does not answer. The message is one line without the key."""


class HandshakeFailed(Exception):
    """The endpoint answers, but does not prove that it accepts Event Grid's events."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The endpoint of one function.

    :param url: the URL of the host, without a path.
    :param key: the system key. It is a secret.
    """

    url: str
    function: str = DEFAULT_FUNCTION
    key: str = field(default="", repr=False)

    def notify(self, event: Document, deliveries: int) -> tuple[int, str]:
        """Deliver one event; return the status of the answer, and its text on one line.

        :param deliveries: the number of earlier deliveries.
        :raises HostUnreachable: the host does not answer.
        """
        schema = schema_of(event)
        headers = {
            "Content-Type": _CONTENT_TYPES[schema],
            "aeg-event-type": "Notification",
            "aeg-delivery-count": str(deliveries),
        }
        body: Any = [event] if schema is Schema.EVENT_GRID else event
        answer = self._send("POST", headers, json.dumps(body).encode())
        return answer.status_code, " ".join(answer.text.split())[:_MAX_SHOWN]

    def shake_hands(self) -> None:
        """Perform the validation handshakes of both schemas, as Event Grid does before it creates a subscription.

        The host answers on its own: no function runs.

        :raises HostUnreachable: the host does not answer.
        :raises HandshakeFailed: the answer does not meet Event Grid's requirements.
        """
        code = str(uuid.uuid4())
        headers = {"Content-Type": _CONTENT_TYPES[Schema.EVENT_GRID], "aeg-event-type": "SubscriptionValidation"}
        answer = self._send("POST", headers, json.dumps([_validation_event(code)]).encode())
        if answer.status_code != requests.codes.ok:
            hint = HINTS.get(answer.status_code, CHECK_THE_APP)
            raise HandshakeFailed(f"{self.url} answered HTTP {answer.status_code} to the validation event; {hint}")
        try:
            echoed = answer.json()["validationResponse"]
        except (ValueError, TypeError, KeyError):
            echoed = None
        if echoed != code:
            raise HandshakeFailed(f"{self.url} answered the validation event without its code; {CHECK_THE_APP}")
        answer = self._send("OPTIONS", {"WebHook-Request-Origin": _ORIGIN})
        allowed = answer.headers.get("WebHook-Allowed-Origin", "")
        if answer.status_code != requests.codes.ok or allowed not in {_ORIGIN, "*"}:
            raise HandshakeFailed(f"{self.url} does not let Event Grid send CloudEvents; {CHECK_THE_APP}")

    def _send(self, method: str, headers: Mapping[str, str], body: bytes | None = None) -> requests.Response:
        key = {"x-functions-key": self.key} if self.key else {}
        try:
            environment_settings(self.url)  # checks the proxy
            return requests.request(
                method,
                f"{self.url}{PATH}?functionName={quote(self.function, safe='')}",
                data=body,
                headers={**headers, **key},
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError, UnicodeError) as exc:
            raise HostUnreachable(f"no answer from {self.url}: {cause_of(exc)}") from exc


def webhook(url: str, function: str, key: str) -> Webhook:
    """Return the endpoint at an address.

    :param url: the address of a host, or the complete endpoint with its key that Azure shows for a subscription.
    :raises CommandFailed: the address has another form, or a key would be sent without encryption.
    """
    if not is_safe_address(url):
        raise CommandFailed(f"--url must be an https:// URL, or on this machine an http:// URL such as {DEFAULT_URL}")
    parts = urlsplit(url)
    if parts.path.rstrip("/").lower() not in {"", PATH}:
        raise CommandFailed(
            f"--url must be the address of a function app without a path, or end in {PATH}?functionName=NAME"
        )
    query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
    return Webhook(
        f"{parts.scheme}://{parts.netloc}", query.get("functionname", function), key or query.get("code", "")
    )


def _validation_event(code: str) -> Document:
    return {
        "id": str(uuid.uuid4()),
        "topic": "/subscriptions/00000000-0000-0000-0000-000000000000",
        "subject": "",
        "data": {"validationCode": code},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "metadataVersion": "1",
        "dataVersion": "1",
    }
