"""The queue of what is due in Azure Queue Storage, over ``azure-storage-queue``.

This module is slow to import, so import it only to open a queue. A queue is safe for many threads, as the store in
Azure Tables is; see ``shared/journal/tables/client.py``.

The host takes the messages and calls the function ``resume``. The service shows nothing of a message that is not
visible yet, and finds no message by its content.
"""

import json
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient

from shared.errors import InvalidMessage, ResumeUnavailable, first_line
from shared.http.azure_transport import PooledTransport
from shared.journal.records import JournalKey
from shared.resume.queue import Due, DueQueue, key_in, message_of

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

API_VERSION: Final = "2021-12-02"
"""Of Azure Queue Storage. Old enough for each Azurite in use, which refuses versions that are newer than itself."""

CALL_SECONDS: Final = 4.0
"""How long one call may take by default. A delivery that ends after its budget has 5 s left."""

PAUSE_SECONDS: Final = 0.2
MIN_REQUEST_SECONDS: Final = 0.5
LONGEST: Final = timedelta(days=7)
"""How long the service hides a message at most."""

_MAX_PEEK: Final = 32
_PROBLEM_OF_THE_MESSAGE: Final = 400  # PopReceiptMismatch
_NO_ACCESS: Final = frozenset({401, 403})
_ADVICE: Final = (
    "check RESUME_STORAGE or RESUME_STORAGE__queueServiceUri, and that the storage account can be reached from here"
)
_ACCESS_ADVICE: Final = (
    "check the account key, or that the app's identity has the role Storage Queue Data Contributor, and the storage "
    "account's firewall"
)

LIBRARY_ERRORS: Final = (AzureError, OSError, ValueError, LookupError, AttributeError, TypeError, SyntaxError)
"""What the library raises. It reads an answer without checking it first, so one that is not from the service raises any
of these; XML that cannot be parsed is a SyntaxError."""

_Answer = TypeVar("_Answer")


def open_client(
    connection: str, name: str, make_identity: "Callable[[], TokenCredential]", transport: PooledTransport
) -> QueueClient:
    """Open a queue. Sends nothing yet.

    :param connection: a connection string, or the URL of a queue service, which is used with an identity.
    :raises ResumeUnavailable: the connection string cannot be used. The message does not show it.
    """
    # A redirect would send the credential to another host. AzureQueue repeats requests itself.
    options: dict[str, Any] = {
        "api_version": API_VERSION,
        "transport": transport,
        "retry_total": 0,
        "permit_redirects": False,
    }
    if "://" in connection.partition("=")[0]:
        return QueueClient(connection, name, credential=make_identity(), **options)
    try:
        return QueueClient.from_connection_string(connection, name, **options)
    except ValueError:
        raise ResumeUnavailable("RESUME_STORAGE is not a connection string; copy it from Azure again") from None


class AzureQueue(DueQueue):
    """One queue in Azure Queue Storage, which is created with the first message."""

    def __init__(
        self,
        connection: str,
        name: str,
        make_identity: "Callable[[], TokenCredential]",
        *,
        connections: int = 32,
        call_seconds: float = CALL_SECONDS,
        transport: PooledTransport | None = None,
    ) -> None:
        """Open the queue. Sends nothing yet. For the parameters and errors, see :func:`open_client`.

        :param connections: how many connections to keep open. Use the number of the host's worker threads.
        :param call_seconds: how long one call may take.
        """
        self._call_seconds = call_seconds
        self._transport = transport or PooledTransport(connections)
        self._client = open_client(connection, name, make_identity, self._transport)

    def put(self, key: JournalKey, after: timedelta, reason: str) -> str:
        """See the base class. If an answer is lost, the message may be in the queue twice."""
        text = message_of(key, reason)

        def send(options: dict[str, Any]) -> str:
            sent = self._client.send_message(text, visibility_timeout=_seconds(after), time_to_live=-1, **options)
            return f"{sent.id} {sent.pop_receipt}"

        try:
            return self._ask(send)
        except _NotFound:
            self._ask(self._create)
            return self._ask(send)

    def move(self, ticket: str, after: timedelta) -> bool:
        """See the base class. A ticket can be used once: afterwards, its message counts as gone."""
        return self._change(
            ticket,
            lambda message, receipt, options: self._client.update_message(
                message, receipt, visibility_timeout=_seconds(after), **options
            ),
        )

    def drop(self, ticket: str) -> None:
        self._change(ticket, lambda message, receipt, options: self._client.delete_message(message, receipt, **options))

    def due(self, limit: int, key: JournalKey | None = None) -> Iterator[Due]:
        """See the base class. Only the first 32 messages that are visible can be seen."""
        count = _MAX_PEEK if key is not None else min(max(limit, 1), _MAX_PEEK)
        try:
            found = self._ask(lambda options: self._client.peek_messages(max_messages=count, **options))
        except _NotFound:
            return
        for message in found:
            try:
                found_key = key_in(message.content)
            except InvalidMessage:
                continue  # the host puts it into the poison queue
            if key in {None, found_key}:
                yield Due(found_key, None, message.dequeue_count or 0, json.loads(message.content).get("reason", ""))

    def hurry(self, keys: Collection[JournalKey] | None = None) -> int:
        """See the base class. It writes new messages, so it needs the keys, and returns 0 without them."""
        for key in keys or ():
            self.put(key, timedelta(), "hurried by an operator")
        return len(keys or ())

    def close(self) -> None:
        self._transport.close_connections()

    def _create(self, options: dict[str, Any]) -> None:
        with suppress(ResourceExistsError):  # another worker has just created it
            self._client.create_queue(**options)

    def _change(self, ticket: str, change: Callable[[str, str, dict[str, Any]], object]) -> bool:
        """Change the message of a ticket. Return False if it was taken or is gone."""
        message, _, receipt = ticket.partition(" ")
        try:
            self._ask(lambda options: change(message, receipt, options))
        except (_Refused, _NotFound):
            return False
        return True

    def _ask(self, send: Callable[[dict[str, Any]], _Answer]) -> _Answer:
        """Send a request, and again if there is no answer and there is time left.

        :raises _NotFound: there is no such queue or message.
        :raises _Refused: the receipt is no longer valid.
        :raises ResumeUnavailable: there is no answer, or another refusal.
        """
        ends_at = time.monotonic() + self._call_seconds
        while True:
            seconds = max(ends_at - time.monotonic(), MIN_REQUEST_SECONDS) / 2
            try:
                return send({"connection_timeout": seconds, "read_timeout": seconds})
            except LIBRARY_ERRORS as exc:
                status = exc.status_code if isinstance(exc, HttpResponseError) else None
                if isinstance(exc, ResourceNotFoundError):
                    raise _NotFound(self._unavailable(exc, status)) from exc
                if status == _PROBLEM_OF_THE_MESSAGE:
                    raise _Refused(self._unavailable(exc, status)) from exc
                is_refused = status is not None and status < 500  # noqa: PLR2004
                if is_refused or ends_at - time.monotonic() < PAUSE_SECONDS + MIN_REQUEST_SECONDS:
                    raise ResumeUnavailable(self._unavailable(exc, status)) from exc
            time.sleep(PAUSE_SECONDS)

    def _unavailable(self, exc: BaseException, status: int | None) -> str:
        said = first_line(str(exc))
        advice = _ACCESS_ADVICE if status in _NO_ACCESS else _ADVICE
        return (
            f"the resume queue {self._client.url} cannot be used: {_code(exc) or type(exc).__name__}: {said}; {advice}"
        )


class _NotFound(ResumeUnavailable):
    """The queue does not exist yet, or the message no longer."""


class _Refused(ResumeUnavailable):
    """The message was taken, so its receipt is no longer valid."""


def _code(exc: BaseException) -> str:
    """Return the service's error code, or an empty string."""
    code = getattr(exc, "error_code", None)
    return str(getattr(code, "value", code or ""))


def _seconds(after: timedelta) -> int:
    return math.ceil(max(timedelta(), min(after, LONGEST)).total_seconds())
