"""A custom Event Grid topic, which events are published to with ``azure-eventgrid``.

Event Grid writes a topic's own resource id into what is published in its own schema, and refuses an event that names
another one there; so ``topic`` is left out, and the app sees the topic as the event's source. CloudEvents keep theirs.
Source: Event Grid docs, event-schema and post-to-custom-topic.
"""

from collections.abc import Callable
from typing import Any, Final

from tools.errors import CommandFailed
from tools.events.documents import Document, Schema, event_name, schema_of
from tools.events.endpoints import cause_of

KEY_VARIABLE: Final = "EVENTGRID_TOPIC_KEY"
_NOT_FOUND: Final = 404
_STAMPED: Final = ("topic", "metadataversion")
# The library's own patience is minutes long. An event that is published twice is one occurrence all the same.
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
    :param key: an access key of the topic; empty: the identity's token is used (role *EventGrid Data Sender*).
    :raises CommandFailed: it was refused, or nobody answers; the message is one line without the key.
    """
    from azure.core.credentials import AzureKeyCredential  # noqa: PLC0415 - slow, and only for those who use it
    from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError  # noqa: PLC0415 - the same
    from azure.eventgrid import EventGridPublisherClient  # noqa: PLC0415 - the same

    failure = f"{endpoint} did not take {event_name(event)}"
    if schema_of(event) is Schema.EVENT_GRID:
        event = {name: value for name, value in event.items() if name.lower() not in _STAMPED}
    credential = AzureKeyCredential(key) if key else make_identity()
    try:
        with EventGridPublisherClient(endpoint, credential) as client:
            client.send([event], **_OPTIONS)
    except HttpResponseError as exc:
        # Where there is no such topic, the library has words of its own instead of the service's.
        status = _NOT_FOUND if isinstance(exc, ResourceNotFoundError) else exc.status_code
        reason = next(iter(str(exc.message).splitlines()), "")
        why = f"HTTP {status}: {reason}; {_ADVICE.get(status, _OTHER_ADVICE)}"
        if status is None:  # the library says so if the identity gave no token
            advice = f"sign in with 'az login', or set {KEY_VARIABLE}"
            why = f"Microsoft Entra gives no token for Event Grid: {reason}; {advice}"
        raise CommandFailed(f"{failure}: {why}", exit_code=1) from exc
    except (AzureError, OSError, ValueError) as exc:
        why = f"no answer: {cause_of(exc)}; check --topic, the identity or key, and the network"
        raise CommandFailed(f"{failure}: {why}", exit_code=1) from exc


_OTHER_ADVICE: Final = "check that --schema is the topic's input schema"
_ADVICE: Final[dict[int | None, str]] = {
    401: f"check the key in {KEY_VARIABLE}, or that your identity has the role EventGrid Data Sender",
    403: "your identity needs the role EventGrid Data Sender, or the topic's firewall keeps you out",
    _NOT_FOUND: "check the topic's endpoint: https://<topic>.<region>-1.eventgrid.azure.net/api/events",
}
