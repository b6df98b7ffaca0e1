"""Sends one request and tells apart three results: answered, certainly not sent, or answer lost."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError

from shared.errors import AnswerLost, RequestNotSent
from shared.http.deadline import POOLS
from shared.http.environment import environment_settings, origin_of
from shared.http.masking import without_credential
from shared.http.message import MAX_SERVERS, HttpRequest, HttpResponse

# After this time, it is better to try again than to wait longer for a connection.
MAX_CONNECT_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 32 * 2**20
"""A longer answer is not read to its end. A page of 1,000 builds has a few MiB."""
_CHUNK_BYTES: Final = 2**16


class Transport(Protocol):
    """A function that sends a request to Azure DevOps."""

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """Send the request once. The whole exchange takes no longer than the timeout.

        :raises RequestNotSent: the server certainly did not receive the request.
        :raises AnswerLost: the server may have received the request.
        """


class RequestsTransport:
    """A pool of connections with ``requests``. Repeats no request, and follows no redirect with the credential.

    The credential is masked in everything that it returns or raises, because an answer may quote the request.

    It uses the adapter of ``requests`` without a session. A session adds redirects, cookies and .netrc, which are not
    allowed here, and takes a third of the time of a request.
    """

    def __init__(self, connections: int, servers: int = MAX_SERVERS) -> None:
        """Create a pool without connections.

        :param connections: how many connections to keep open. Use the number of the host's worker threads.
        :param servers: how many servers to keep connections and settings for.
        """
        self._adapter = _Adapter(pool_connections=servers, pool_maxsize=connections, max_retries=0)
        self._settings = lru_cache(servers)(environment_settings)

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """See ``Transport``."""
        body = _Body(request.body)
        connect_seconds = min(MAX_CONNECT_SECONDS, timeout_seconds / 2)
        try:
            # The type is urllib3's own response; see _Adapter.
            answer: Any = self._adapter.send(
                self._prepare(request, body, authorization),
                timeout=(connect_seconds, timeout_seconds - connect_seconds),
                **self._settings(origin_of(request.url)) | {"stream": True},
            )
            content = _content(answer)
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as exc:
            reason = f"{request.method} {request.url.partition('?')[0]}: {_cause(exc, authorization)}"
            if body.has_started:
                raise AnswerLost(f"the answer was lost: {reason}") from exc
            raise RequestNotSent(f"no connection: {reason}") from exc
        headers = {name.lower(): answer.headers[name] for name in answer.headers}
        values = "\n".join(headers.values())
        if _masked(values, authorization) != values:  # one check for all, because it is rare
            headers = {name: _masked(value, authorization) for name, value in headers.items()}
        return HttpResponse(answer.status, headers, without_credential(content, authorization))

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _prepare(self, request: HttpRequest, body: "_Body", authorization: str) -> requests.PreparedRequest:
        prepared = requests.PreparedRequest()
        prepared.prepare_method(request.method)
        prepared.url = _prepared_url(request.url)
        prepared.prepare_headers(request.headers(authorization))
        if request.body is not None:
            prepared.body = body  # type: ignore[assignment]  # an iterable is a body too
        return prepared


class _Adapter(HTTPAdapter):
    """An adapter that looks up the pool of a server only once, and does not process cookies.

    In ``requests``, which does both for every request, they take a third of the CPU time of a request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._servers: int = options["pool_connections"]
        self._pools: dict[str, ConnectionPool] = {}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *arguments: Any, **options: Any
    ) -> ConnectionPool:
        """See ``HTTPAdapter``. Proxies and certificates are the same for all requests to one origin."""
        origin = origin_of(request.url or "")
        if origin not in self._pools:
            if len(self._pools) >= self._servers:
                self.close()
            self._pools[origin] = super().get_connection_with_tls_context(request, *arguments, **options)
        return self._pools[origin]

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """See ``HTTPAdapter``."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        """See ``HTTPAdapter``."""
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def build_response(self, _request: requests.PreparedRequest, answer: Any) -> Any:
        """See ``HTTPAdapter``. Returns urllib3's own response."""
        return answer

    def close(self) -> None:
        """Close the pooled connections."""
        self._pools.clear()
        super().close()


class _Body:
    """A request body that records when it is first read.

    A server cannot act on a request without its body. Any error before the body is read (DNS, TCP, TLS, proxy) means
    that the request was certainly not sent. After any later error, it is unknown what the server has done.
    """

    def __init__(self, content: bytes | None) -> None:
        self._content = content or b""
        self.has_started = False

    def __iter__(self) -> Iterator[bytes]:
        self.has_started = True
        yield self._content


def _content(answer: Any) -> bytes:
    """Read the body of an answer. Compressed bodies are not accepted: 2 MB of gzip can become gigabytes.

    :raises HTTPError: the body is compressed, longer than MAX_ANSWER_BYTES, or not complete.
    """
    content = bytearray()
    try:
        _require_plain(answer)
        for chunk in answer.stream(_CHUNK_BYTES, decode_content=False):
            content += chunk
            _require_short(content)
    except BaseException:
        answer.close()  # else the rest could be read as the next answer
        raise
    answer.release_conn()
    return bytes(content)


def _require_plain(answer: Any) -> None:
    if (encoding := answer.headers.get("content-encoding", "identity")) != "identity":
        raise HTTPError(f"the answer is encoded as {encoding!r:.40}, although the request accepts no encoding")


def _require_short(content: bytearray) -> None:
    if len(content) > MAX_ANSWER_BYTES:
        raise HTTPError(f"the answer is longer than {MAX_ANSWER_BYTES // 2**20} MiB")


@lru_cache(maxsize=1024)
def _prepared_url(url: str) -> str | None:
    """Return the URL as ``requests`` sends it. Cached, because most requests go to the same few pipelines."""
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url, None)
    return prepared.url


def _masked(text: str, authorization: str) -> str:
    return without_credential(text.encode("utf-8", "surrogateescape"), authorization).decode("utf-8", "surrogateescape")


def _cause(exc: BaseException, authorization: str) -> str:
    """Return the innermost cause of an exception, which is the most specific. It may quote the answer."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return _masked(f"{type(exc).__name__}: {exc}", authorization)[:200]
