"""Publishes events to a custom Event Grid topic, with ``azure-eventgrid``.

In Event Grid's schema, the service sets ``topic`` to the topic's own resource id, and refuses an event with another
one. ``topic`` is therefore removed, and the app sees the topic as the event's source. CloudEvents keep their source.
Source: Event Grid docs, event-schema and post-to-custom-topic.
"""

from collections.abc import Callable
from typing import Any, Final

from shared.errors import first_line
from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, event_name, schema_of
from tools.events.endpoints import cause_of

KEY_VARIABLE: Final = "EVENTGRID_TOPIC_KEY"
_NOT_FOUND: Final = 404
_STAMPED: Final = ("topic", "metadataversion")
# By default, the library retries for minutes. An event that is published twice is still one occurrence.
_OPTIONS: Final[dict[str, Any]] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
    "connection_timeout": 5,
    "read_timeout": 15,
    "permit_redirects": False,
}


def publish(endpoint: str, key: str, make_identity: Callable[[], Any], event: Document) -> None:
    """Publish one event.

    :param endpoint: ``https://<topic>.<region>-1.eventgrid.azure.net/api/events``.
    :param key: an access key of the topic. If empty, the identity's token is used (role *EventGrid Data Sender*).
    :raises CommandFailed: the event was refused, or there is no answer. The message is one line without the key.
    """
    from azure.core.credentials import AzureKeyCredential  # noqa: PLC0415 - a slow import, rarely needed
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError  # noqa: PLC0415 - the same
    from azure.eventgrid import EventGridPublisherClient  # noqa: PLC0415 - the same

    failure = f"{endpoint} did not accept {event_name(event)}"
    if schema_of(event) is Schema.EVENT_GRID:
        event = {name: value for name, value in event.items() if name.lower() not in _STAMPED}
    credential = AzureKeyCredential(key) if key else make_identity()
    try:
        with EventGridPublisherClient(endpoint, credential) as client:
            client.send([event], **_OPTIONS)
    except HttpResponseError as exc:
        # If there is no such topic, the library raises its own error without a status.
        status = _NOT_FOUND if isinstance(exc, ResourceNotFoundError) else exc.status_code
        reason = first_line(str(exc.message))
        why = f"HTTP {status}: {reason}; {_ADVICE.get(status, _OTHER_ADVICE)}"
        if status is None:  # the identity issued no token
            advice = f"sign in with 'az login', or set {KEY_VARIABLE}"
            why = f"Microsoft Entra issued no token for Event Grid: {reason}; {advice}"
        raise CommandFailed(f"{failure}: {why}", exit_code=1) from exc
    except (AzureError, OSError, ValueError) as exc:
        why = f"no answer: {cause_of(exc)}; check --topic, the identity or key, and the network"
        raise CommandFailed(f"{failure}: {why}", exit_code=1) from exc


_OTHER_ADVICE: Final = "check that --schema is the topic's input schema"
_ADVICE: Final[dict[int | None, str]] = {
    401: f"check the key in {KEY_VARIABLE}, or that your identity has the role EventGrid Data Sender",
    403: "give your identity the role EventGrid Data Sender, or allow this machine in the topic's firewall",
    _NOT_FOUND: "check the topic's endpoint: https://<topic>.<region>-1.eventgrid.azure.net/api/events",
}
