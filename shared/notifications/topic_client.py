"""The client for a custom topic of Event Grid, based on ``azure-eventgrid``. Sends a batch once.

This module is slow to import, so ``shared/composition.py`` imports it only for the first notification.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from shared.errors import NotificationFailed, first_line
from shared.notifications.notification import Notification

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 4.0

_REFUSALS: Final = range(300, 500)
_PASSING_STATUSES: Final = frozenset({408, 429})

_OTHER_ADVICE: Final = "the outcomes are in the journal"
_ADVICE: Final = {
    400: "check that the topic's input schema is CloudEventSchemaV1_0",
    404: "check NOTIFY_TOPIC_ENDPOINT",
}
_KEY_ADVICE: Final = "check that NOTIFY_TOPIC_KEY is the topic's key, and the topic's firewall"
_IDENTITY_ADVICE: Final = (
    "check that the app's identity has the role EventGrid Data Sender on the topic, and the topic's firewall"
)

# OSError: the file of certificates is missing. ValueError: the credential is invalid.
_FOREIGN: Final = (AzureError, OSError, ValueError)


class Topic:
    """A ``Publish``; see ``shared.notifications.notifier``. Not thread-safe. Sends nothing before its first call."""

    def __init__(
        self,
        endpoint: str,
        key: str | None,
        make_identity: Callable[[], "TokenCredential"],
        *,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """
        :param endpoint: the endpoint of the topic, checked by the settings.
        :param key: the key of the topic, which must not appear in a message; None to send an identity's token.
        :param make_identity: returns the identity; called if there is no key.
        :param read_seconds: how long to wait for an answer.
        """
        # EventGridPublisherClient accepts options only with each request, and also passes them to the model of each
        # event, which logs a warning for every option (azure-eventgrid 4.22).
        logging.getLogger("azure.eventgrid").setLevel(logging.ERROR)
        self._client = EventGridPublisherClient(endpoint, AzureKeyCredential(key) if key else make_identity())
        self._endpoint = endpoint
        self._key = key
        self._read_seconds = read_seconds

    def __call__(self, notifications: Sequence[Notification]) -> None:
        """Publish all notifications in one request.

        :raises NotificationFailed: the topic did not accept the notifications, or its answer is unknown.
        """
        try:
            self._client.send(
                [CloudEvent(**each._asdict(), datacontenttype="application/json") for each in notifications],
                connection_timeout=CONNECT_SECONDS,
                read_timeout=self._read_seconds,
                retry_total=0,  # the notifier retries
                permit_redirects=False,  # a redirect would send the credential elsewhere
                auth=lambda request: request,  # otherwise an entry in .netrc replaces the Authorization header
            )
        except _FOREIGN as exc:
            raise NotificationFailed(self._reason(exc), is_transient=not _is_refusal(exc)) from exc

    def _reason(self, exc: Exception) -> str:
        status = _status(exc)
        text = str(exc).replace(self._key, "***") if self._key else str(exc)
        said = first_line(text) or type(exc).__name__
        advice = _ADVICE.get(status or 0, _OTHER_ADVICE)
        if status in {401, 403} or isinstance(exc, ClientAuthenticationError):
            advice = _KEY_ADVICE if self._key else _IDENTITY_ADVICE
        answer = f"HTTP {status}: " if status else ""
        return f"the topic {self._endpoint} did not accept them: {answer}{said}; {advice}"


def _status(exc: Exception) -> int | None:
    if isinstance(exc, ResourceNotFoundError):
        return 404  # the client raises this error without the answer
    return exc.status_code if isinstance(exc, HttpResponseError) else None


def _is_refusal(exc: Exception) -> bool:
    """Return whether the topic would refuse the same request again."""
    if isinstance(exc, ClientAuthenticationError):
        return True
    status = _status(exc)
    return status in _REFUSALS and status not in _PASSING_STATUSES
