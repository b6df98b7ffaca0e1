"""A client for Azure Resource Manager: reads, creates and deletes resources.

Long-running operations are polled until they end. Throttled requests (429) and failures of the service (5xx) are sent
again, after as long as ``Retry-After`` says. Requests and answers are not logged, since an answer may hold a key.
Source: Azure Resource Manager's RPC, common-api-details and async-api-reference (Azure/azure-resource-manager-rpc).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.exceptions import AzureError, DecodeError, HttpResponseError
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import (
    HeadersPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core.policies import ARMAutoResourceProviderRegistrationPolicy, ARMChallengeAuthenticationPolicy
from azure.mgmt.core.polling.arm_polling import ARMPolling

from shared.errors import first_line
from shared.version import VERSION
from tools.azure.answers import Answer, ResourceManagerError
from tools.azure.policies import Encryption, OneHost, Retries

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_NOT_FOUND: Final = 404
_NO_CONTENT: Final = 204
_BAD_REQUEST: Final = 400
_OF_NONSENSE: Final = (RecursionError, AttributeError, TypeError, LookupError)
"""What Azure's libraries and the JSON parser raise if an answer has an unknown form, or is nested too deeply."""

_CHECK_NETWORK: Final = "check the network: DNS, proxy, firewall"
_BACKOFF_SECONDS: Final = 0.8
_POLL_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 15
_READ_SECONDS: Final = 120
_IN_TRANSITION: Final = "Conflict"
_TRANSITION_TRIES: Final = 24
"""How often to ask for a change while an earlier one of the same resource has not ended: for two minutes."""

_OPERATION_SECONDS: Final = 30 * 60.0
"""How long an operation may take. The longest known one, a system topic, takes about a minute."""


class ResourceManager:
    """Azure Resource Manager, as one signed-in identity sees it. A path is a resource ID, or begins with one."""

    def __init__(
        self,
        credential: "TokenCredential",
        base_url: str,
        *,
        pause_seconds: float | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """:param base_url: ``https://management.azure.com``, or that of another cloud.

        :param pause_seconds: the pause between two requests where the service names none; only tests set it.
        :param say: tells the operator about a long pause.
        """
        self._say = say
        backoff = _BACKOFF_SECONDS if pause_seconds is None else pause_seconds
        transport: Any = RequestsTransport(connection_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
        self._base_url = base_url.rstrip("/")
        self._poll_seconds = _POLL_SECONDS if pause_seconds is None else pause_seconds
        policies: list[Any] = [
            OneHost(self._base_url),
            RequestIdPolicy(),
            HeadersPolicy({"Accept": "application/json"}),
            UserAgentPolicy(base_user_agent=f"nextstage/{VERSION}"),
            ARMAutoResourceProviderRegistrationPolicy(),
            Retries(backoff, say),
            Encryption(is_required=self._base_url.startswith("https:")),
            ARMChallengeAuthenticationPolicy(credential, f"{self._base_url}/.default"),
        ]
        self._pipeline = Pipeline(transport, policies)
        self._client = PipelineClient[HttpRequest, HttpResponse](self._base_url, pipeline=self._pipeline)

    def get(self, resource_id: str, api_version: str) -> Answer | None:
        """Return a resource; None if it does not exist.

        :raises ResourceManagerError: it cannot be read.
        """
        request = self._request("GET", resource_id, api_version)
        with _said(request):
            response = self._send(request).http_response
            if response.status_code == _NOT_FOUND:
                return None
            response.raise_for_status()
            return _document(response)

    def list(self, path: str, api_version: str, **query: str) -> list[Answer]:
        """Return all resources of a collection, on however many pages.

        :param query: further parameters of the query; ``filter_`` stands for ``$filter``.
        :raises ResourceManagerError: they cannot be listed.
        """
        request: HttpRequest | None = self._request("GET", path, api_version, query=query)
        found: list[Answer] = []
        links: set[str] = set()
        while request is not None:
            with _said(request):
                response = self._send(request).http_response
                response.raise_for_status()
                page = _document(response)
                if "value" not in page:
                    raise ValueError("the answer is not a list")
                found += page.objects("value")
                request = _next_page(page, links)
        return found

    def put(self, resource_id: str, body: dict[str, Any], api_version: str) -> Answer:
        """Create a resource, or bring an existing one to this state, and return it when that is done.

        :raises ResourceManagerError: it was refused, or the operation failed.
        """
        request = self._request("PUT", resource_id, api_version, body)
        with _said(request):
            started = self._start(request)
            started.http_response.raise_for_status()
            return self._finish(request, started) or Answer({}, _words(request))

    def delete(self, resource_id: str, api_version: str) -> bool:
        """Delete a resource, and return when that is done whether it existed.

        :raises ResourceManagerError: it was refused, or the operation failed.
        """
        request = self._request("DELETE", resource_id, api_version)
        with _said(request):
            started = self._start(request)
            if started.http_response.status_code in {_NOT_FOUND, _NO_CONTENT}:
                return False
            started.http_response.raise_for_status()
            self._finish(request, started)
            return True

    def post(self, path: str, api_version: str, body: dict[str, Any] | None = None) -> Answer | None:
        """Perform an action, and return its answer; None if that is empty.

        :raises ResourceManagerError: it was refused.
        """
        request = self._request("POST", path, api_version, body)
        with _said(request):
            response = self._send(request).http_response
            response.raise_for_status()
            return _answer(response)

    def _request(
        self, method: str, path: str, api_version: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> HttpRequest:
        url = self._base_url + quote(path, safe="/()!*'@:$,;=&+-._~")
        parameters = {name.replace("filter_", "$filter"): value for name, value in (query or {}).items()}
        return HttpRequest(method, url, params={"api-version": api_version, **parameters}, json=body)

    def _send(self, request: HttpRequest) -> Any:
        return self._pipeline.run(request)

    def _start(self, request: HttpRequest) -> Any:
        """Send a request that changes a resource, again while an earlier change has not ended.

        That happens after a process was killed, or if an answer was lost. Source: MicrosoftDocs/azure-docs, issue 7415.
        """
        for turn in range(_TRANSITION_TRIES):
            started = self._send(request)
            response = started.http_response
            if response.status_code != HTTPStatus.CONFLICT or _error_code(response) != _IN_TRANSITION:
                return started
            if not turn:
                self._say(f"{_words(request)}: an earlier change has not ended; waiting, at most two minutes")
            time.sleep(self._poll_seconds)
        return self._send(request)

    def _finish(self, request: HttpRequest, started: Any) -> Answer | None:
        """Follow the operation that a request has started to its end, and return the resource, if there is one then."""
        polling: Any = ARMPolling(self._poll_seconds)
        poller: LROPoller[Answer | None] = LROPoller(
            self._client, started, lambda response: _answer(response.http_response), polling
        )
        poller.wait(_OPERATION_SECONDS)  # raises the operation's error
        if not poller.done():
            minutes = _OPERATION_SECONDS / 60
            raise ResourceManagerError(_words(request), f"not done after {minutes:g} minutes; run the command again")
        return poller.result()


@contextmanager
def _said(request: HttpRequest) -> Iterator[None]:
    """Translate the errors of Azure's libraries into one type."""
    try:
        yield
    except DecodeError as exc:
        raise ResourceManagerError(_words(request), f"no usable answer: it is not JSON; {_CHECK_NETWORK}") from exc
    except HttpResponseError as exc:
        response = exc.response
        if response is None:  # the credential has no token
            # Output that the library does not understand may contain a token.
            why = re.sub("(Unexpected output from [^:]*):.*", r"\1", first_line(str(exc)))
            reason = f"there is no token for it: {why}; sign in with 'azd auth login' or 'az login'"
            raise ResourceManagerError(_words(request), reason) from exc
        codes, reasons = _causes(exc)
        # The failure of an operation is reported by an answer whose own status is 200.
        status = None if response.status_code is None or response.status_code < _BAD_REQUEST else response.status_code
        reason = " ".join(dict.fromkeys(reasons)) or (status and exc.reason) or "it failed, and no reason is given"
        raise ResourceManagerError(_words(request), reason, status=status, codes=codes) from exc
    except (AzureError, ValueError, *_OF_NONSENSE) as exc:
        what = first_line(str(exc)) or type(exc).__name__
        reason = f"no usable answer: {what}; {_CHECK_NETWORK}"
        raise ResourceManagerError(_words(request), reason) from exc


def _causes(exc: HttpResponseError) -> tuple[tuple[str, ...], list[str]]:
    """Return the codes and the messages of an error and of its details."""
    codes: list[str] = []
    reasons: list[str] = []
    waiting: list[Any] = [exc.error]
    while waiting:
        error = waiting.pop(0)
        if error is None:
            continue
        codes += [error.code] if error.code else []
        reasons += [" ".join(error.message.split())] if error.message else []
        waiting += error.details or []
    return tuple(codes), reasons


def _error_code(response: HttpResponse) -> str:
    error = HttpResponseError(response=response).error
    return (error.code if error else None) or ""


def _words(request: HttpRequest) -> str:
    return f"{request.method} {request.url.split('?')[0].split('/', 3)[-1]}"


def _document(response: HttpResponse) -> Answer:
    """Return the answer's JSON object.

    :raises ValueError: there is no content, or it is something else.
    """
    document = _answer(response)
    if document is None:
        raise ValueError("the answer is empty")
    return document


def _answer(response: HttpResponse) -> Answer | None:
    """Return the answer's JSON object; None if there is no content, as after a deletion.

    :raises ValueError: it is something else, such as a proxy's page.
    """
    if not response.content:
        return None
    document = response.json()
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - of the content, not of an argument
    return Answer(document, _words(response.request))


def _next_page(page: Answer, links: set[str]) -> HttpRequest | None:
    """Return the request for the next page; None after the last one.

    :param links: those that were followed; the new one is added.
    :raises ValueError: it is not a link, or was followed already.
    """
    link = page.get("nextLink")
    if not link:
        return None
    if not isinstance(link, str) or link in links:
        raise ValueError("the pages of the list have no end")
    links.add(link)
    return HttpRequest("GET", link)
