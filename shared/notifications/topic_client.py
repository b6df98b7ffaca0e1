"""A custom topic of Event Grid, over ``azure-eventgrid``: sends one batch, once, and says what came of it.

Slow to import, so ``shared/composition.py`` imports it when a first notification is to be published.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from shared.errors import NotificationFailed
from shared.notifications.notification import Notification

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 4.0

_REFUSALS: Final = range(300, 500)
_PASSING_STATUSES: Final = frozenset({408, 429})
_MAX_REASON: Final = 300

_OTHER_ADVICE: Final = "what came of the events is in the journal"
_ADVICE: Final = {
    400: "check that the topic's input schema is CloudEventSchemaV1_0",
    404: "check NOTIFY_TOPIC_ENDPOINT",
}
_KEY_ADVICE: Final = "check that NOTIFY_TOPIC_KEY is the topic's key, and the topic's firewall"
_IDENTITY_ADVICE: Final = (
    "check that the app's identity has the role EventGrid Data Sender on the topic, and the topic's firewall"
)

# Beside AzureError: OSError, no file of certificates; ValueError, a credential that cannot be used.
_FOREIGN: Final = (AzureError, OSError, ValueError)


class Topic:
    """See ``shared.notifications.notifier.Publish``. For one thread. Sends nothing before its first call."""

    def __init__(
        self,
        endpoint: str,
        key: str | None,
        make_identity: Callable[[], "TokenCredential"],
        *,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """
        :param endpoint: the topic's, as the settings have checked it.
        :param key: the topic's key, which no message may hold; None: an identity's token is sent.
        :param make_identity: called if there is no key.
        :param read_seconds: how long to wait for an answer.
        """
        # EventGridPublisherClient takes the options of a request with each request only, and hands them to each event's
        # model too, which warns of every single one (azure-eventgrid 4.22).
        logging.getLogger("azure.eventgrid").setLevel(logging.ERROR)
        self._client = EventGridPublisherClient(endpoint, AzureKeyCredential(key) if key else make_identity())
        self._endpoint = endpoint
        self._key = key
        self._read_seconds = read_seconds

    def __call__(self, notifications: Sequence[Notification]) -> None:
        """Publish all of them in one request.

        :raises NotificationFailed: the topic did not take them, or nobody knows.
        """
        try:
            self._client.send(
                [CloudEvent(**told._asdict(), datacontenttype="application/json") for told in notifications],
                connection_timeout=CONNECT_SECONDS,
                read_timeout=self._read_seconds,
                retry_total=0,  # the notifier tries again
                permit_redirects=False,  # a redirect would carry the credential elsewhere
                auth=lambda request: request,  # without this, an entry in .netrc would replace the Authorization header
            )
        except _FOREIGN as exc:
            raise NotificationFailed(self._reason(exc), may_pass=not _is_refusal(exc)) from exc

    def _reason(self, exc: Exception) -> str:
        status = _status(exc)
        said = next(iter(str(exc).splitlines()), type(exc).__name__)[:_MAX_REASON]
        if self._key:
            said = said.replace(self._key, "***")
        advice = _ADVICE.get(status or 0, _OTHER_ADVICE)
        if status in {401, 403} or isinstance(exc, ClientAuthenticationError):
            advice = _KEY_ADVICE if self._key else _IDENTITY_ADVICE
        answer = f"HTTP {status}: " if status else ""
        return f"the topic {self._endpoint} did not take them: {answer}{said}; {advice}"


def _status(exc: Exception) -> int | None:
    if isinstance(exc, ResourceNotFoundError):
        return 404  # raised anew by the client, without the answer
    return exc.status_code if isinstance(exc, HttpResponseError) else None


def _is_refusal(exc: Exception) -> bool:
    """Whether the same request would only be refused again."""
    if isinstance(exc, ClientAuthenticationError):
        return True
    status = _status(exc)
    return status in _REFUSALS and status not in _PASSING_STATUSES
