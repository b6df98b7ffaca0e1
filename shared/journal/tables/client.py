"""One table of Azure Table storage, over ``azure-data-tables``: sends each request once and translates its answer.

Slow to import, so ``shared/journal/tables/store.py`` imports it where a table is opened.

Safe for many threads, though azure-core warns that its transport is not, as it shares one ``requests`` session. Its
source (azure-core 1.41, azure-data-tables 12.7) keeps what belongs to a request in that request's own context; what
threads share is the session (connection pools and cookie jar, both locked), made here before the first thread comes
because the transport's own lazy making of it can race, and the token, of which at worst two are fetched.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import requests
from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.pipeline.transport import HttpTransport, RequestsTransport
from azure.data.tables import TableClient, TableEntity, UpdateMode
from requests.adapters import HTTPAdapter

from shared.http.environment import environment_settings
from shared.journal.tables.connection import DEVELOPMENT_STORAGE, account_key, is_development_storage, is_endpoint
from shared.journal.tables.protocol import Drop, NoAnswer, Page, Put, Query, Refused, Stored

if TYPE_CHECKING:
    from azure.core.paging import PageIterator

AnyTransport: TypeAlias = HttpTransport[Any, Any]

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


def open_table(
    connection: str,
    make_identity: Callable[[], TokenCredential],
    *,
    table_name: str,
    connections: int,
    transport: AnyTransport | None = None,
) -> "AzureTable":
    """The table of a connection in which ``connection_problem`` finds none. Sends nothing yet."""
    options: dict[str, Any] = {
        "transport": transport or pooled_transport(connections),
        # The store tries again by itself: only it knows how to recognise a write whose answer was lost.
        "retry_total": 0,
        # A redirect would carry the credential elsewhere.
        "permit_redirects": False,
    }
    if is_endpoint(connection):
        client = TableClient(connection, table_name, credential=make_identity(), **options)
    else:
        known = DEVELOPMENT_STORAGE if is_development_storage(connection) else connection
        client = TableClient.from_connection_string(known, table_name, **options)
    return AzureTable(client, account_key(connection))


class AzureTable:
    """See ``shared.journal.tables.protocol.Table``."""

    def __init__(self, client: TableClient, secret: str | None) -> None:
        """:param secret: what no message may hold."""
        self._client = client
        self._secret = secret

    @property
    def endpoint(self) -> str:
        """See ``Table.endpoint``."""
        return self._client.url

    def write(self, operations: Sequence[Put | Drop], seconds: float) -> str:
        """See ``Table.write``."""

        def send() -> str:
            if len(operations) == 1 and isinstance(operations[0], Put):
                return self._put(operations[0], seconds)
            batch = [_operation(operation) for operation in operations]
            answers = self._client.submit_transaction(batch, **_timeouts(seconds))
            etag: str = answers[0]["etag"] if isinstance(operations[0], Put) else ""
            return etag

        return self._ask(send)

    def read(self, partition_key: str, row_key: str, seconds: float) -> Stored:
        """See ``Table.read``."""

        def send() -> Stored:
            return _stored(self._client.get_entity(partition_key, row_key, **_timeouts(seconds)))

        return self._ask(send)

    def page(self, query: Query, page: object, seconds: float) -> Page:
        """See ``Table.page``."""

        def send() -> Page:
            answer = self._client.query_entities(
                query.filter, select=query.columns, results_per_page=query.page_size, **_timeouts(seconds)
            )
            pages = cast("PageIterator[TableEntity]", answer.by_page(cast("str", page)))
            found = [_stored(entity) for entity in next(pages)]
            return Page(found, pages.continuation_token)

        return self._ask(send)

    def create(self, seconds: float) -> None:
        """See ``Table.create``."""
        self._ask(lambda: self._client.create_table(**_timeouts(seconds)))

    def close(self) -> None:
        """See ``Table.close``."""
        self._client.close()

    def _put(self, put: Put, seconds: float) -> str:
        """One entity, without the transaction around it, which costs this library more than all the rest together."""
        kind, entity, options = _operation(put)
        write = self._client.create_entity if kind == "create" else self._client.update_entity
        etag: str | None = write(entity, **options, **_timeouts(seconds)).get("etag")
        if not etag:
            raise LookupError("the answer names no version")
        return etag

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


class _PooledTransport(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, unseen by mypy
    """Speaks to one account. Reads each answer to its end at once, and looks into the environment once.

    azure-data-tables wants the answer to a batch as a stream, and where it is no batch leaves it unread: the connection
    would be lost to the pool, and an answer that breaks off would not raise azure-core's errors.
    """

    def __init__(self, session: requests.Session) -> None:
        session.trust_env = False
        super().__init__(session=session)
        self._environment: dict[str, Any] | None = None

    def send(self, request: Any, **options: Any) -> Any:
        """See ``HttpTransport.send``."""
        if self._environment is None:
            self._environment = environment_settings(request.url)
        options["proxies"] = options.get("proxies") or self._environment["proxies"]
        options.setdefault("connection_verify", self._environment["verify"])
        return super().send(request, **{**options, "stream": False})


def pooled_transport(connections: int) -> AnyTransport:
    """A transport for one account that keeps so many connections open, and resends nothing."""
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return _PooledTransport(session)


def _stored(entity: TableEntity) -> Stored:
    return Stored(entity, entity.metadata["etag"] or "")


def _operation(operation: Put | Drop) -> tuple[str, Mapping[str, Any], dict[str, Any]]:
    condition: dict[str, Any] = {}
    if operation.etag is not None:
        condition = {"etag": operation.etag, "match_condition": MatchConditions.IfNotModified}
    if isinstance(operation, Drop):
        return "delete", {"PartitionKey": operation.partition_key, "RowKey": operation.row_key}, condition
    if operation.etag is None:
        # Else the service sends the whole entity back.
        return "create", operation.entity, {"response_preference": "return-no-content"}
    return "update", operation.entity, {"mode": UpdateMode.REPLACE, **condition}


def _timeouts(seconds: float) -> dict[str, Any]:
    connect_seconds = min(CONNECT_SECONDS, seconds / 2)
    return {"connection_timeout": connect_seconds, "read_timeout": min(READ_SECONDS, seconds - connect_seconds)}


def _is_refusal(exc: Exception) -> bool:
    if isinstance(exc, ClientAuthenticationError):
        return True
    status = exc.status_code if isinstance(exc, HttpResponseError) else None
    return status in _REFUSALS and status not in _PASSING_STATUSES


def _code(exc: Exception) -> str:
    code = getattr(exc, "error_code", None) or _error_in_body(exc).get("code") or _code_in_header(exc)
    return str(getattr(code, "value", code))


def _code_in_header(exc: Exception) -> str:
    response: Any = exc.response if isinstance(exc, HttpResponseError) else None
    return "" if response is None else str(response.headers.get("x-ms-error-code", ""))


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
