"""HTTP requests and answers as plain data, and what an answer means. No I/O.

Every answer becomes a value or exactly one typed error; which one decides whether an event is acknowledged, parked or
delivered again, so ``check`` is the error table of docs/how-it-works.md in code.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from shared.errors import AnswerLost, CredentialRejected, PermissionDenied, RequestRefused, Throttled
from shared.version import VERSION

# Azure DevOps asks for a pause of seconds to minutes. Without a number we take half a minute; a longer one than an
# hour is a mistake somewhere, and Event Grid comes back anyway.
DEFAULT_PAUSE_SECONDS: Final = 30.0
MAX_PAUSE_SECONDS: Final = 3600.0

_MAX_MESSAGE_LENGTH: Final = 500

_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "User-Agent": f"nextstage/{VERSION}",
}


class HttpRequest(NamedTuple):
    """One request, without its Authorization header.

    :param extra_headers: those that its service wants beside what every request carries.
    """

    method: str
    url: str
    body: bytes | None = None
    content_type: str = "application/json"
    extra_headers: Mapping[str, str] = MappingProxyType({})

    def headers(self, authorization: str) -> dict[str, str]:
        """All that are sent."""
        headers = {**_HEADERS, **self.extra_headers, "Authorization": authorization}
        if self.body is not None:
            headers |= {"Content-Type": self.content_type, "Content-Length": str(len(self.body))}
        return headers


class HttpResponse(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_html(self) -> bool:
        """Whether a page for people came instead of JSON: most often the sign-in page."""
        content_type = self.headers.get("content-type", "")
        return "text/html" in content_type.lower() or self.body[:64].lstrip().lower().startswith(
            (b"<!doctype", b"<html")
        )


def decipher(response: HttpResponse) -> Any:
    """Turn an answer into its JSON document, or into the one error that says what to do next.

    :raises AzureDevOpsError: see ``check``.
    :raises AnswerLost: also where the answer is not JSON.
    """
    check(response)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as exc:
        raise AnswerLost(f"HTTP {response.status} with a body that is not JSON") from exc


def check(response: HttpResponse) -> None:
    """Let a good answer pass, and turn any other into the one error that says what to do next.

    :raises Throttled: 429, or 503 with a pause; nothing was queued.
    :raises CredentialRejected: 203, 401, a redirect, or a page instead of JSON; nothing was queued.
    :raises PermissionDenied: 403; nothing was queued.
    :raises RequestRefused: any other 4xx; nothing was queued, and never will be by the same request.
    :raises AnswerLost: whatever else: a run may have been queued.
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
    """How long the server wants to be left alone, or None.

    The longer of Retry-After and X-RateLimit-Delay, which may come with a good answer too; a 429 without either
    gets ``DEFAULT_PAUSE_SECONDS``. Source: Azure DevOps docs, integrate/concepts/rate-limits.
    """
    pauses = [_retry_after(response.headers), parse_number(response.headers.get("x-ratelimit-delay"))]
    wanted = [pause for pause in pauses if pause is not None and pause > 0]
    if wanted:
        return min(max(wanted), MAX_PAUSE_SECONDS)
    return DEFAULT_PAUSE_SECONDS if response.status == 429 else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after")
    seconds = parse_number(value)
    if value is None or seconds is not None:
        return seconds
    try:  # RFC 9110 allows a date; measured against the server's own Date, so that clocks need not agree
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])) / timedelta(seconds=1)
    except (ValueError, KeyError, TypeError):
        return DEFAULT_PAUSE_SECONDS


def parse_number(value: str | None) -> float | None:
    """A finite number, or None where the text is none."""
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and number < float("inf") else None


def _server_message(response: HttpResponse) -> str:
    """The server's own words, cut and on one line; Azure DevOps wraps them as ``{"message": …}``."""
    try:
        message = json.loads(response.body)["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "no message"
    return " ".join(str(message).split())[:_MAX_MESSAGE_LENGTH]
