"""Policies of the client for Azure Resource Manager: where its token may go, and when it waits."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse

_REDIRECTS: Final = range(300, 400)
_LONG_SECONDS: Final = 10.0
_RETRIES: Final = 5


class OneHost(SansIOHTTPPolicy[HttpRequest, HttpResponse]):
    """Keeps the token on the host of Azure Resource Manager, whose answers say where to go on.

    Event Grid names the host with its port 443. Hosts of single regions are below the host.
    """

    def __init__(self, base_url: str) -> None:
        self._base = _origin(base_url)

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """:raises AzureError: the request is for another host."""
        scheme, host, port = _origin(request.http_request.url)
        base_scheme, base_host, base_port = self._base
        is_below = scheme == "https" and host.endswith(f".{base_host}")
        if (scheme, port) != (base_scheme, base_port) or not (host == base_host or is_below):
            raise AzureError(f"an answer leads to another host, {host}, which gets no token")

    def on_response(
        self, _request: PipelineRequest[HttpRequest], response: PipelineResponse[HttpRequest, HttpResponse]
    ) -> None:
        """:raises AzureError: the answer is a redirect, as that of a proxy or a sign-in page."""
        status = response.http_response.status_code
        if status in _REDIRECTS:
            raise AzureError(f"HTTP {status} redirects to another address")


class Encryption(SansIOHTTPPolicy[HttpRequest, HttpResponse]):
    """Tells the next policy whether it may send a token over http, as to a stand-in on this machine."""

    def __init__(self, *, is_required: bool) -> None:
        self._is_required = is_required

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        request.context.options["enforce_https"] = self._is_required


class Retries(RetryPolicy[HttpRequest, HttpResponse]):
    """Sends throttled requests and those that failed again, and announces long pauses that the service asks for."""

    def __init__(self, backoff_seconds: float, say: Callable[[str], None]) -> None:
        super().__init__(retry_total=_RETRIES, retry_status=_RETRIES, retry_backoff_factor=backoff_seconds)
        self._say = say

    def sleep(self, settings: dict[str, Any], transport: Any, response: Any = None) -> None:
        """Wait for as long as the answer asks for, otherwise for the next pause."""
        seconds = (self.get_retry_after(response) if response else None) or 0
        if seconds >= _LONG_SECONDS:
            status = response.http_response.status_code
            self._say(f"Azure Resource Manager answered HTTP {status}, and asks to wait {seconds:g} s")
        super().sleep(settings, transport, response)


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, the host and the port of a URL.

    :raises ValueError: the port is not a number.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else None)
