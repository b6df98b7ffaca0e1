"""One table of Azure Table storage, over ``azure-data-tables``: sends each request once and translates the answer.

This module is slow to import, so ``shared/journal/tables/backend.py`` imports it only when it opens a store.

Safe for many threads, although azure-core warns that its transport is not, because it shares one ``requests`` session.
In its source (azure-core 1.41, azure-data-tables 12.7), the data of a request stay in that request's own context.
Threads share two things: the session, whose connection pools and cookie jar are locked, and the token, which may be
fetched twice. This module creates the session before other threads use it, because its creation in the transport has a
race condition.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.data.tables import TableClient, TableEntity, UpdateMode

from shared.clock import Clock
from shared.errors import first_line
from shared.http.azure_transport import PooledTransport
from shared.http.clock_offset import ClockOffset
from shared.journal.tables.connection import DEVELOPMENT_STORAGE, account_key, is_development_storage, is_endpoint

if TYPE_CHECKING:
    from azure.core.paging import PageIterator

_Answer = TypeVar("_Answer")

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 4.0

# Timeouts and throttling: a repeated request may succeed. The same applies to any 5xx.
_REFUSAL_STATUSES: Final = range(300, 500)
_RETRYABLE_STATUSES: Final = frozenset({408, 429})
_SENT_AT: Final = "nextstage_sent_at"

# The answer to a batch is parsed outside azure-core's pipeline, so the parser's exceptions are not translated to
# AzureError (ValueError: not multipart; LookupError: parts or ETag missing). OSError: the file of certificates is
# missing. AttributeError: create_entity looks for an error message in an answer that it could not read.
_LIBRARY_ERRORS: Final = (AzureError, OSError, ValueError, LookupError, AttributeError)


Operation: TypeAlias = tuple[str, Mapping[str, Any], dict[str, Any]]
"""One operation of a write: the kind, the entity and the options."""


class Refused(Exception):
    """The service refused the operation. ``code`` is its error code, or empty. Never leaves the store.

    Codes: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class NoAnswer(Exception):
    """Raised if there is no reliable answer: the service may have done the operation. Used only inside the store."""


class Stored(NamedTuple):
    """A stored entity and its ETag."""

    entity: Mapping[str, Any]
    etag: str


def put(entity: Mapping[str, Any], etag: str | None = None) -> Operation:
    """Return the operation that replaces the entity if it has this ETag. If the ETag is None, create the entity."""
    if etag is None:
        # Without this option, the service sends the whole entity back.
        return "create", entity, {"response_preference": "return-no-content"}
    return "update", entity, {"mode": UpdateMode.REPLACE, **_condition(etag)}


def drop(partition_key: str, row_key: str, etag: str | None = None) -> Operation:
    """Return the operation that deletes the entity if it has this ETag. If the ETag is None, delete it in any case."""
    return "delete", {"PartitionKey": partition_key, "RowKey": row_key}, _condition(etag)


class AzureTable:
    """One table. Each method sends one request, within the given number of seconds.

    :raises Refused: with one of the codes that the method names, or another one.
    :raises NoAnswer: there is no reliable answer.
    """

    def __init__(
        self,
        connection: str,
        make_identity: Callable[[], TokenCredential],
        *,
        table_name: str,
        connections: int,
        clock: Clock,
        transport: PooledTransport | None = None,
    ) -> None:
        """Open the table of a connection that ``connection_problem`` has accepted. Sends nothing yet."""
        options: dict[str, Any] = {
            "transport": transport or PooledTransport(connections),
            # The store repeats requests, because only it can recognize a write whose answer was lost.
            "retry_total": 0,
            # A redirect would send the credential to another host.
            "permit_redirects": False,
            "raw_request_hook": self._note_time,
            "raw_response_hook": self._measure_clock,
        }
        if is_endpoint(connection):
            self._client = TableClient(connection, table_name, credential=make_identity(), **options)
        else:
            known = DEVELOPMENT_STORAGE if is_development_storage(connection) else connection
            self._client = TableClient.from_connection_string(known, table_name, **options)
        self._secret = account_key(connection)
        self.endpoint: Final = self._client.url
        """The URL of the service, for messages."""
        self.clock_offset: Final = ClockOffset(self.endpoint)
        self._clock = clock

    def write(self, operations: Sequence[Operation], seconds: float) -> str:
        """Carry out all operations or none, in one transaction on one partition. Return the first entity's new ETag.

        The ETag is empty if the first operation deletes the entity.

        :raises Refused: EntityAlreadyExists, UpdateConditionNotSatisfied, ResourceNotFound, TableNotFound.

        Source: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
        """
        kind, entity, options = operations[0]

        def send() -> str:
            if len(operations) > 1 or kind == "delete":
                answers = self._client.submit_transaction(operations, **_timeouts(seconds))
                return "" if kind == "delete" else cast("str", answers[0]["etag"])
            # Without a transaction, because a transaction costs more time in this library than everything else.
            write = self._client.create_entity if kind == "create" else self._client.update_entity
            etag: str | None = write(entity, **options, **_timeouts(seconds)).get("etag")
            if not etag:
                raise LookupError("the answer contains no ETag")
            return etag

        return self._ask(send)

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        """Read one entity.

        :raises Refused: ResourceNotFound, TableNotFound.
        """
        return self._ask(lambda: _stored(self._client.get_entity(partition_key, row_key, **_timeouts(seconds))))

    def page(self, query: str, page_size: int, page: object, seconds: float) -> tuple[list[Stored], object]:
        """Return one page of a query's entities and the token for the next page, which is None after the last page.

        :param query: an OData filter; empty for all entities.
        :param page_size: the maximum number of entities. The service returns at most 1,000, and may return fewer.
        :param page: the token of the wanted page; None for the first page.
        :raises Refused: TableNotFound.
        """

        def send() -> tuple[list[Stored], object]:
            answer = self._client.query_entities(query, results_per_page=page_size, **_timeouts(seconds))
            pages = cast("PageIterator[TableEntity]", answer.by_page(cast("str", page)))
            found = [_stored(entity) for entity in next(pages)]
            return found, pages.continuation_token

        return self._ask(send)

    def create(self, seconds: float) -> None:
        """Create the table.

        :raises Refused: TableAlreadyExists, TableBeingDeleted.
        """
        self._ask(lambda: self._client.create_table(**_timeouts(seconds)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _note_time(self, request: Any) -> None:
        request.context[_SENT_AT] = self._clock()

    def _measure_clock(self, answer: Any) -> None:
        """Measure the service's clock. Called for each answer, which may be a refusal."""
        found = answer.http_response
        self.clock_offset.measure(found.status_code, found.headers, answer.context[_SENT_AT], self._clock())

    def _ask(self, send: Callable[[], _Answer]) -> _Answer:
        try:
            return send()
        except _LIBRARY_ERRORS as exc:
            reason = _reason(exc)
            if self._secret:
                reason = reason.replace(self._secret, "***")
            if _is_refusal(exc):
                raise Refused(_code(exc), reason) from exc
            raise NoAnswer(reason) from exc


def _stored(entity: TableEntity) -> Stored:
    return Stored(entity, entity.metadata["etag"] or "")


def _condition(etag: str | None) -> dict[str, Any]:
    return {} if etag is None else {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _timeouts(seconds: float) -> dict[str, Any]:
    connect_seconds = min(CONNECT_SECONDS, seconds / 2)
    return {"connection_timeout": connect_seconds, "read_timeout": min(READ_SECONDS, seconds - connect_seconds)}


def _is_refusal(exc: Exception) -> bool:
    if isinstance(exc, ClientAuthenticationError):
        return True
    status = exc.status_code if isinstance(exc, HttpResponseError) else None
    return status in _REFUSAL_STATUSES and status not in _RETRYABLE_STATUSES


def _code(exc: Exception) -> str:
    headers = getattr(getattr(exc, "response", None), "headers", {})
    code = getattr(exc, "error_code", None) or _error_in_body(exc).get("code") or headers.get("x-ms-error-code", "")
    return str(getattr(code, "value", code))


def _reason(exc: BaseException) -> str:
    """Return the first line of the service's message, or of the innermost cause, which is the most specific."""
    while not isinstance(exc, HttpResponseError):
        # azure-core raises its error outside the except block, so __cause__ is empty, but inner_exception has it.
        inner = getattr(exc, "inner_exception", None) or exc.__cause__ or exc.__context__
        if inner is None:
            break
        exc = inner
    said = _error_in_body(exc).get("message", {}).get("value") or str(exc)
    return f"{type(exc).__name__}: {first_line(said)}"


def _error_in_body(exc: BaseException) -> dict[str, Any]:
    """Return the service's error from the JSON body. The library does not read it if creating an entity failed."""
    response: Any = exc.response if isinstance(exc, HttpResponseError) else None
    try:
        error: dict[str, Any] = ContentDecodePolicy.deserialize_from_http_generics(response)["odata.error"]
    except (AzureError, AttributeError, LookupError, TypeError):
        return {}
    return error
