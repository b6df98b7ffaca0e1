"""Sends one request and says for sure what can be said: answered, surely not sent, or answer lost."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError

from shared.errors import AnswerLost, RequestNotSent
from shared.http.environment import environment_settings, origin_of
from shared.http.message import HttpRequest, HttpResponse

# A connection that is not there within this time is tried again, rather than waited for.
MAX_CONNECT_SECONDS: Final = 5.0


class Transport(Protocol):
    """Carries a request to Azure DevOps."""

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """Send the request, once, and wait no longer than the timeout for all of it.

        :raises RequestNotSent: the server surely did not get it.
        :raises AnswerLost: the server may have got it.
        """


class RequestsTransport:
    """One pool of ``requests``. Follows no redirect (the credential must not travel) and resends nothing.

    The pool's adapter is used without the session that ``requests`` puts around it: redirects, cookies and .netrc are
    what it adds, none of which may happen here, and it takes a third of the time that a request costs.
    """

    def __init__(self, connections: int) -> None:
        """:param connections: how many are kept open; as many as the host has worker threads."""
        self._adapter = _Adapter(pool_maxsize=connections, max_retries=0)
        self._environment: dict[str, dict[str, Any]] = {}

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """See ``Transport``."""
        body = _Body(request.body)
        connect_seconds = min(MAX_CONNECT_SECONDS, timeout_seconds / 2)
        try:
            # urllib3's own response: see _Adapter.
            answer: Any = self._adapter.send(
                self._prepare(request, body, authorization),
                timeout=(connect_seconds, timeout_seconds - connect_seconds),
                **self._settings(request.url),
            )
            content = answer.read(decode_content=True)
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as exc:
            reason = f"{request.method} {request.url.partition('?')[0]}: {_cause(exc)}"
            if body.was_begun:
                raise AnswerLost(f"the answer was lost: {reason}") from exc
            raise RequestNotSent(f"no connection: {reason}") from exc
        headers = {name.lower(): answer.headers[name] for name in answer.headers}
        return HttpResponse(answer.status, headers, content)

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

    def _settings(self, url: str) -> dict[str, Any]:
        """From the environment, looked up once per organization."""
        origin = origin_of(url)
        if origin not in self._environment:
            self._environment[origin] = environment_settings(url)
        return self._environment[origin]


class _Adapter(HTTPAdapter):
    """Chooses the pool of an organization once, where ``requests`` chooses for each request; makes no cookies.

    Both took a third of the CPU time of a request.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pools: dict[str, ConnectionPool] = {}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *arguments: Any, **options: Any
    ) -> ConnectionPool:
        """See ``HTTPAdapter``. Proxies and certificates are the same for all requests to one origin."""
        origin = origin_of(request.url or "")
        if origin not in self._pools:
            self._pools[origin] = super().get_connection_with_tls_context(request, *arguments, **options)
        return self._pools[origin]

    def build_response(self, _request: requests.PreparedRequest, answer: Any) -> Any:
        """See ``HTTPAdapter``; gives urllib3's own response."""
        return answer

    def close(self) -> None:
        """Close the pooled connections."""
        self._pools.clear()
        super().close()


class _Body:
    """A request body that knows whether sending it has begun.

    A server can do nothing with a request whose body it never saw. So an error before the first byte of the body,
    whatever its kind (DNS, TCP, TLS, proxy), means: surely not sent. Any later error means: unknown.
    """

    def __init__(self, content: bytes | None) -> None:
        self._content = content or b""
        self.was_begun = False

    def __iter__(self) -> Iterator[bytes]:
        self.was_begun = True
        yield self._content


@lru_cache(maxsize=1024)
def _prepared_url(url: str) -> str | None:
    """As ``requests`` sends it; mostly the same few pipelines are asked."""
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url, None)
    return prepared.url


def _cause(exc: BaseException) -> str:
    """The innermost reason, which says most in the fewest words."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {exc}"[:200]
