"""The poison queue in Azure Queue Storage."""

from collections.abc import Iterator
from typing import Final

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from shared.composition import identity_factory
from shared.errors import ResumeUnavailable
from shared.http.azure_transport import PooledTransport
from shared.resume.azure_queue import LIBRARY_ERRORS, open_client
from shared.settings import Settings
from tools.actions.resume.poison import PoisonMessage

_SUFFIX: Final = "-poison"
"""The Functions host appends it to the name of the queue."""

_AT_ONCE: Final = 32
"""The maximum number of messages that one request returns."""

_TAKEN_SECONDS: Final = 300
_ADVICE: Final = "check RESUME_STORAGE, your role Storage Queue Data Contributor, and the account's firewall"


class AzurePoisonQueue:
    """See ``PoisonQueue``. The host creates the queue when it sets the first message aside."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client

    def peek(self) -> list[PoisonMessage]:
        try:
            return [PoisonMessage(each.content, each.inserted_on) for each in self._client.peek_messages(_AT_ONCE)]
        except LIBRARY_ERRORS as exc:
            self._raise_unless_missing(exc)
            return []

    def count(self) -> int:
        try:
            return self._client.get_queue_properties().approximate_message_count or 0
        except LIBRARY_ERRORS as exc:
            self._raise_unless_missing(exc)
            return 0

    def take(self) -> Iterator[PoisonMessage]:
        messages = self._client.receive_messages(messages_per_page=_AT_ONCE, visibility_timeout=_TAKEN_SECONDS)
        try:
            for each in messages:
                yield PoisonMessage(each.content, each.inserted_on, (each.id, each.pop_receipt or ""))
        except LIBRARY_ERRORS as exc:
            self._raise_unless_missing(exc)

    def release(self, message: PoisonMessage) -> None:
        try:
            self._client.update_message(*message.handle, visibility_timeout=0)
        except LIBRARY_ERRORS as exc:
            self._raise_unless_missing(exc)

    def delete(self, message: PoisonMessage) -> None:
        try:
            self._client.delete_message(*message.handle)
        except LIBRARY_ERRORS as exc:
            self._raise_unless_missing(exc)

    def _raise_unless_missing(self, error: Exception) -> None:
        if not isinstance(error, ResourceNotFoundError):
            # The message of the library may quote a signature.
            what = f"the queue {self._client.queue_name} does not answer: {type(error).__name__}"
            raise ResumeUnavailable(f"{what}; {_ADVICE}") from error


def open_poison_queue(settings: Settings) -> AzurePoisonQueue:
    """Open the poison queue of the queue that the settings name. Nothing is sent yet.

    :raises ResumeUnavailable: the connection string cannot be used.
    """
    connection = settings.resume_queue_url or settings.resume_storage or ""
    name = settings.resume_queue + _SUFFIX
    return AzurePoisonQueue(open_client(connection, name, identity_factory(settings), PooledTransport(1)))
