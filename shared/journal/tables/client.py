"""One table of Azure Table storage, over ``azure-data-tables``: sends each request once and translates its answer.

Slow to import, so ``shared/journal/tables/backend.py`` imports the store where a table is opened.

Safe for many threads, though azure-core warns that its transport is not, as it shares one ``requests`` session. Its
source (azure-core 1.41, azure-data-tables 12.7) keeps what belongs to a request in that request's own context; what
threads share is the session (connection pools and cookie jar, both locked), made here before the first thread comes
because the transport's own lazy making of it can race, and the token, of which at worst two are fetched.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import requests
from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableClient, TableEntity, UpdateMode
from requests.adapters import HTTPAdapter

from shared.http.environment import environment_settings
from shared.journal.tables.connection import DEVELOPMENT_STORAGE, account_key, is_development_storage, is_endpoint

if TYPE_CHECKING:
    from azure.core.paging import PageIterator

_Answer = TypeVar("_Answer")

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 4.0

# Timeouts, throttling: what another try a moment later may get past. So may any 5xx.
_REFUSALS: Final = range(300, 500)
_PASSING_STATUSES: Final = frozenset({408, 429})
_MAX_REASON: Final = 300

# Beside AzureError: the answer to a batch is parsed outside azure-core's pipeline, so that what the parser finds comes
# through as it is (ValueError: not multipart; LookupError: parts or ETag missing). OSError: no file of certificates.
# AttributeError: create_entity looks for the service's words in answers that it could not read.
_FOREIGN: Final = (AzureError, OSError, ValueError, LookupError, AttributeError)


Operation: TypeAlias = tuple[str, Mapping[str, Any], dict[str, Any]]
"""One operation of a write: what to do, with which entity, and the options."""


class Refused(Exception):
    """The service answered that it did not do it. ``code`` is its error code, or empty. Never leaves the store.

    Codes: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class NoAnswer(Exception):
    """There is no answer that can be relied on: the service may have done it, or not. Never leaves the store."""


class Stored(NamedTuple):
    """An entity as it is stored now."""

    entity: Mapping[str, Any]
    etag: str


def put(entity: Mapping[str, Any], etag: str | None = None) -> Operation:
    """Replace the entity if it is stored under this ETag; None: create it."""
    if etag is None:
        # Else the service sends the whole entity back.
        return "create", entity, {"response_preference": "return-no-content"}
    return "update", entity, {"mode": UpdateMode.REPLACE, **_condition(etag)}


def drop(partition_key: str, row_key: str, etag: str | None = None) -> Operation:
    """Delete the entity if it is stored under this ETag; None: in any case."""
    return "delete", {"PartitionKey": partition_key, "RowKey": row_key}, _condition(etag)


class AzureTable:
    """One table. Each method sends a request once, within so many seconds.

    :raises Refused: with the codes that are named.
    :raises NoAnswer: see there.
    """

    def __init__(
        self,
        connection: str,
        make_identity: Callable[[], TokenCredential],
        *,
        table_name: str,
        connections: int,
        transport: "PooledTransport | None" = None,
    ) -> None:
        """Open the table of a connection in which ``connection_problem`` finds none. Sends nothing yet."""
        options: dict[str, Any] = {
            "transport": transport or PooledTransport(connections),
            # The store tries again by itself: only it knows how to recognise a write whose answer was lost.
            "retry_total": 0,
            # A redirect would carry the credential elsewhere.
            "permit_redirects": False,
        }
        if is_endpoint(connection):
            self._client = TableClient(connection, table_name, credential=make_identity(), **options)
        else:
            known = DEVELOPMENT_STORAGE if is_development_storage(connection) else connection
            self._client = TableClient.from_connection_string(known, table_name, **options)
        self._secret = account_key(connection)
        self.endpoint: Final = self._client.url
        """Where it is, for messages."""

    def write(self, operations: Sequence[Operation], seconds: float) -> str:
        """Do all of them or none, in one transaction of one partition. Returns the first one's new ETag, if it has one.

        EntityAlreadyExists, UpdateConditionNotSatisfied, ResourceNotFound, TableNotFound.
        Source: https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
        """
        kind, entity, options = operations[0]

        def send() -> str:
            if len(operations) > 1 or kind == "delete":
                answers = self._client.submit_transaction(operations, **_timeouts(seconds))
                return "" if kind == "delete" else cast("str", answers[0]["etag"])
            # Without the transaction around it, which costs this library more than all the rest together.
            write = self._client.create_entity if kind == "create" else self._client.update_entity
            etag: str | None = write(entity, **options, **_timeouts(seconds)).get("etag")
            if not etag:
                raise LookupError("the answer names no version")
            return etag

        return self._ask(send)

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        """Read one entity. ResourceNotFound, TableNotFound."""
        return self._ask(lambda: _stored(self._client.get_entity(partition_key, row_key, **_timeouts(seconds))))

    def page(
        self, query: str, columns: str | None, page_size: int, page: object, seconds: float
    ) -> tuple[list[Stored], object]:
        """Read entities that a query finds, and what to ask for the next page with; None if this is the last.

        :param query: in OData; empty for all.
        :param columns: the properties that are wanted, separated by commas; None for all.
        :param page_size: how many at most; the service gives no more than 1,000, and fewer as it likes.
        :param page: where to begin; None for the first page.
        :raises Refused: TableNotFound.
        """

        def send() -> tuple[list[Stored], object]:
            answer = self._client.query_entities(
                query, select=columns, results_per_page=page_size, **_timeouts(seconds)
            )
            pages = cast("PageIterator[TableEntity]", answer.by_page(cast("str", page)))
            found = [_stored(entity) for entity in next(pages)]
            return found, pages.continuation_token

        return self._ask(send)

    def create(self, seconds: float) -> None:
        """Make the table. TableAlreadyExists, TableBeingDeleted."""
        self._ask(lambda: self._client.create_table(**_timeouts(seconds)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, send: Callable[[], _Answer]) -> _Answer:
        try:
            return send()
        except _FOREIGN as exc:
            reason = _reason(exc)
            if self._secret:
                reason = reason.replace(self._secret, "***")
            if _is_refusal(exc):
                raise Refused(_code(exc), reason) from exc
            raise NoAnswer(reason) from exc


class PooledTransport(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, unseen by mypy
    """Speaks to one account over so many kept connections, and resends nothing.

    It reads each answer to its end at once: azure-data-tables wants the answer to a batch as a stream, and where it is
    no batch leaves it unread: the connection would be lost to the pool, and an answer that breaks off would not raise
    azure-core's errors. It looks into the environment once.
    """

    def __init__(self, connections: int) -> None:
        session = requests.Session()
        session.trust_env = False
        adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        super().__init__(session=session)
        self._environment: dict[str, Any] | None = None

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        if self._environment is None:
            self._environment = environment_settings(request.url)
        options["proxies"] = options.get("proxies") or self._environment["proxies"]
        options.setdefault("connection_verify", self._environment["verify"])
        return super().send(request, **{**options, "stream": False})


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
    return status in _REFUSALS and status not in _PASSING_STATUSES


def _code(exc: Exception) -> str:
    headers = getattr(getattr(exc, "response", None), "headers", {})
    code = getattr(exc, "error_code", None) or _error_in_body(exc).get("code") or headers.get("x-ms-error-code", "")
    return str(getattr(code, "value", code))


def _reason(exc: BaseException) -> str:
    """The first line of what the service said, or else the innermost cause, which says most in the fewest words."""
    while not isinstance(exc, HttpResponseError):
        # azure-core raises its own error after the handler has ended, so that it has no cause, but names it.
        inner = getattr(exc, "inner_exception", None) or exc.__cause__ or exc.__context__
        if inner is None:
            break
        exc = inner
    said = _error_in_body(exc).get("message", {}).get("value") or str(exc)
    return f"{type(exc).__name__}: {next(iter(said.splitlines()), '')}"[:_MAX_REASON]


def _error_in_body(exc: BaseException) -> dict[str, Any]:
    """What the service says in JSON. Where an entity could not be created, the library does not read it for us."""
    response: Any = exc.response if isinstance(exc, HttpResponseError) else None
    try:
        error: dict[str, Any] = ContentDecodePolicy.deserialize_from_http_generics(response)["odata.error"]
    except (AzureError, AttributeError, LookupError, TypeError):
        return {}
    return error
