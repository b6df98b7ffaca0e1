"""Sends one request and says for sure what can be said: answered, surely not sent, or answer lost."""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from shared.errors import AnswerLost, RequestNotSent
from shared.pipelines_protocol import HttpRequest, HttpResponse

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
        self._adapter = HTTPAdapter(pool_maxsize=connections, max_retries=0)
        self._environment: dict[str, dict[str, Any]] = {}

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        """See ``Transport``."""
        body = _Body(request.body)
        connect_seconds = min(MAX_CONNECT_SECONDS, timeout_seconds / 2)
        try:
            answer = self._adapter.send(
                self._prepare(request, body, authorization),
                timeout=(connect_seconds, timeout_seconds - connect_seconds),
                **self._settings(request.url),
            )
            content = answer.content
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as exc:
            reason = f"{request.method} {_without_query(request.url)}: {_cause(exc)}"
            if body.was_begun:
                raise AnswerLost(f"the answer was lost: {reason}") from exc
            raise RequestNotSent(f"no connection: {reason}") from exc
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpResponse(answer.status_code, headers, content)

    def close(self) -> None:
        """Close the pooled connections."""
        self._adapter.close()

    def _prepare(self, request: HttpRequest, body: "_Body", authorization: str) -> requests.PreparedRequest:
        prepared = requests.PreparedRequest()
        prepared.prepare_method(request.method)
        prepared.prepare_url(request.url, None)
        prepared.prepare_headers(request.headers(authorization))
        if request.body is not None:
            prepared.body = body  # type: ignore[assignment]  # an iterable is a body too
        return prepared

    def _settings(self, url: str) -> dict[str, Any]:
        """Proxies and certificates from the environment, looked up once per organization: it is slow."""
        origin = "/".join(url.split("/", 3)[:3])
        if origin not in self._environment:
            with requests.Session() as session:
                settings = session.merge_environment_settings(origin, {}, False, None, None)  # noqa: FBT003
            self._environment[origin] = dict(settings)
        return self._environment[origin]


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


def _cause(exc: BaseException) -> str:
    """The innermost reason, which says most in the fewest words."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{type(exc).__name__}: {exc}"[:200]


def _without_query(url: str) -> str:
    return url.partition("?")[0]
