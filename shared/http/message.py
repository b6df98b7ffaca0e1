"""HTTP requests and answers as plain data, and the meaning of each answer. No I/O.

Every answer becomes a value or exactly one typed error. The error decides whether an event is acknowledged, parked or
delivered again. ``check`` implements the error table in docs/how-it-works.md.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from shared.errors import AnswerLost, CredentialRejected, PermissionDenied, RequestRefused, Throttled
from shared.version import VERSION

# Azure DevOps asks for pauses of seconds to minutes. If it gives no number, the pause is half a minute. A pause of more
# than an hour is probably a mistake, and Event Grid delivers the event again anyway.
DEFAULT_PAUSE_SECONDS: Final = 30.0
MAX_PAUSE_SECONDS: Final = 3600.0

_MAX_MESSAGE_LENGTH: Final = 500

_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"nextstage/{VERSION}",
}


class HttpRequest(NamedTuple):
    """One request, without its Authorization header.

    :param extra_headers: headers that the service needs in addition to those of every request.
    """

    method: str
    url: str
    body: bytes | None = None
    content_type: str = "application/json"
    extra_headers: Mapping[str, str] = MappingProxyType({})

    def headers(self, authorization: str) -> dict[str, str]:
        """Return all headers to send."""
        headers = {**_HEADERS, **self.extra_headers, "Authorization": authorization}
        if self.body is not None:
            headers |= {"Content-Type": self.content_type, "Content-Length": str(len(self.body))}
        return headers


class HttpResponse(NamedTuple):
    """One answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_html(self) -> bool:
        """Whether the answer is an HTML page instead of JSON: usually the sign-in page."""
        content_type = self.headers.get("content-type", "")
        return "text/html" in content_type.lower() or self.body[:64].lstrip().lower().startswith(
            (b"<!doctype", b"<html")
        )


def read_document(response: HttpResponse) -> Any:
    """Return the JSON document of an answer, or raise the error that tells the caller what to do next.

    :raises AzureDevOpsError: see ``check``.
    :raises AnswerLost: also if the answer is not JSON.
    """
    check(response)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as exc:
        raise AnswerLost(f"HTTP {response.status}, but the body is not JSON") from exc


def check(response: HttpResponse) -> None:
    """Raise the error that tells the caller what to do next, unless the answer is a success.

    :raises Throttled: 429, or 503 with a pause. No run was queued.
    :raises CredentialRejected: 203, 401, a redirect, or HTML instead of JSON. No run was queued.
    :raises PermissionDenied: 403. No run was queued.
    :raises RequestRefused: any other 4xx. No run was queued, and the same request will always be refused.
    :raises AnswerLost: any other failure. A run may have been queued.
    """
    status = response.status
    pause = pause_seconds(response)
    if status in {429, 503} and pause is not None:
        raise Throttled(f"HTTP {status}, throttled for {pause:g} s: {_server_message(response)}", pause)
    if status >= 500 or status == 408 or status < 200:
        raise AnswerLost(f"HTTP {status}: {_server_message(response)}")
    if status in {203, 401} or 300 <= status < 400 or response.is_html:
        raise CredentialRejected(
            f"HTTP {status} asks to sign in: the PAT or token is wrong, expired or not for this organization "
            "(or the organization's URL is wrong); renew it or correct AZURE_DEVOPS_ORG_URL"
        )
    if status == 403:
        raise PermissionDenied(f"HTTP 403: {_server_message(response)}; grant the app's identity this permission")
    if status >= 400:
        raise RequestRefused(f"HTTP {status}: {_server_message(response)}", not_found=status in {404, 410})


def pause_seconds(response: HttpResponse) -> float | None:
    """Return the length of the pause that the server asks for, or None.

    Only Retry-After asks for a pause, which successful answers may have too. X-RateLimit-Delay tells how long the
    request was held. For a 429 without Retry-After, the pause is ``DEFAULT_PAUSE_SECONDS``. Source: Azure DevOps docs,
    integrate/concepts/rate-limits.
    """
    wanted = _retry_after(response.headers)
    if wanted is not None and wanted > 0:
        return min(wanted, MAX_PAUSE_SECONDS)
    return DEFAULT_PAUSE_SECONDS if response.status == 429 else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after")
    seconds = parse_number(value)
    if value is None or seconds is not None:
        return seconds
    try:  # RFC 9110 allows a date. It is compared with the server's own Date, so the clocks may differ.
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])) / timedelta(seconds=1)
    except (ValueError, KeyError, TypeError, OverflowError):
        return DEFAULT_PAUSE_SECONDS


def parse_number(value: str | None) -> float | None:
    """Return the string as a finite number, or None if it is not one."""
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and number < float("inf") else None


def _server_message(response: HttpResponse) -> str:
    """Return the server's message, shortened and on one line. Azure DevOps sends it as ``{"message": …}``."""
    try:
        message = json.loads(response.body)["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "no message"
    return " ".join(str(message).split())[:_MAX_MESSAGE_LENGTH]
