"""HTTP requests and answers as plain data, and the meaning of each answer. No I/O.

Every answer becomes a value or exactly one typed error. The error decides whether an event is acknowledged, parked or
delivered again. ``check`` implements the error table in docs/how-it-works.md.
"""

import html
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    PermissionDenied,
    RequestRefused,
    RunExists,
    Throttled,
    VersionNotSupported,
)
from shared.version import VERSION

# Azure DevOps asks for pauses of seconds to minutes. If it gives no number, the pause is half a minute. A pause of more
# than an hour is probably a mistake, and Event Grid delivers the event again anyway.
DEFAULT_PAUSE_SECONDS: Final = 30.0
MAX_PAUSE_SECONDS: Final = 3600.0

MAX_SERVERS: Final = 64
"""How many servers to keep connections for. Requests of waiting tasks can name any number of servers."""

_MAX_MESSAGE_LENGTH: Final = 500
_MAX_READ_FOR_MESSAGE: Final = 2**16
_NO_MESSAGE: Final = "no message"
_TITLE: Final = re.compile("<title[^<>]*>([^<]*)", re.IGNORECASE)
_MESSAGE_CODE: Final = re.compile(r"\b(TF|VS)\d")
"""Each message of Azure DevOps with a code, such as TF400813, has its own cause."""

_GRANT: Final = "grant the app's identity this permission"
_RENEW: Final = (
    "the PAT or token is wrong, expired or not for this organization (or the organization's URL is wrong); renew it or "
    "correct AZURE_DEVOPS_ORG_URL"
)
_SEE_DOCS: Final = "docs/azure-devops-setup.md explains the message"

_SIGN_IN_HOSTS: Final = frozenset(
    {
        "login.live.com",
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
        "login.chinacloudapi.cn",
        "login.windows.net",
    }
)

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
        """Whether the answer is an HTML page instead of JSON: of a proxy, or the sign-in page."""
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
        said = _server_message(response, None)
        raise AnswerLost(f"HTTP {response.status}, but the body is not JSON: {said}") from exc


def check(response: HttpResponse) -> None:
    """Raise the error that tells the caller what to do next, unless the answer is a success.

    :raises Throttled: 429. No run was queued.
    :raises CredentialRejected: 203, 401, or a redirect to a sign-in page. No run was queued.
    :raises PermissionDenied: 403 or the type of error. No run was queued.
    :raises VersionNotSupported: the type of error. No run was queued.
    :raises RequestRefused: any other 4xx, or the type of error. No run was queued, and the same request will always be
        refused.
    :raises AnswerLost: any other answer that is not a success. A run may have been queued.
    """
    status = response.status
    if 200 <= status < 300 and status != 203 and not response.is_html:
        return
    document = _json_of(response)
    said = _server_message(response, document)
    if status == 429:
        pause = pause_seconds(response) or DEFAULT_PAUSE_SECONDS
        raise Throttled(f"HTTP 429, throttled for {pause:g} s: {said}", pause)
    if status >= 400 and isinstance(document, dict):
        _check_type(document.get("typeKey"), f"HTTP {status}: {said}")
    if status in {203, 401} or _is_sign_in(response):
        advice = _SEE_DOCS if _MESSAGE_CODE.search(said) else _RENEW
        raise CredentialRejected(f"HTTP {status} asks to sign in: {said}; {advice}")
    if status == 403:
        raise PermissionDenied(f"HTTP 403: {said}; {_GRANT}")
    if 400 <= status < 500 and status != 408:
        raise RequestRefused(f"HTTP {status}: {said}", not_found=status in {404, 410})
    if 300 <= status < 400:
        target = _plain(response.headers.get("location", "").partition("?")[0]) or "nowhere"
        raise AnswerLost(f"HTTP {status} redirects to {target}; check AZURE_DEVOPS_ORG_URL and the proxy")
    if response.is_html:
        raise AnswerLost(f"HTTP {status} with a page instead of JSON: {said}")
    raise AnswerLost(f"HTTP {status}: {said}")


def is_failure(response: HttpResponse) -> bool:
    """Return whether the server failed. An error of a type that is known is an answer, whatever its status."""
    try:
        if response.status >= 500:
            check(response)
    except AnswerLost as exc:
        return not isinstance(exc, RunExists)
    except AzureDevOpsError:
        pass
    return False


def _check_type(type_key: object, answer: str) -> None:
    """Raise the error for a wrapped exception of Azure DevOps, whose type says more than the status.

    :param answer: the status and the server's message.
    """
    match type_key:
        case "AccessDeniedException":
            raise PermissionDenied(f"{answer}; {_GRANT}")
        case "PipelineNotFoundException" | "DefinitionNotFoundException" | "RunNotFoundException":
            raise RequestRefused(answer, not_found=True)
        case "PipelineValidationException" | "DefinitionDisabledException":
            raise RequestRefused(answer)
        case "VssVersionOutOfRangeException" | "VssInvalidPreviewVersionException":
            raise VersionNotSupported(f"{answer}; set AZURE_DEVOPS_API_VERSION to a version that the server supports")
        case "RunOrchestrationExistsException":
            raise RunExists(f"{answer}; an earlier request has queued the run")


def _is_sign_in(response: HttpResponse) -> bool:
    """Return whether the answer is a redirect to a sign-in page of Azure DevOps or Microsoft Entra."""
    if not 300 <= response.status < 400:
        return False
    try:
        target = urlsplit(response.headers.get("location", ""))
    except ValueError:
        return False
    return target.hostname in _SIGN_IN_HOSTS or "/_signin" in target.path.lower()


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


def _json_of(response: HttpResponse) -> Any:
    """Return the JSON document of an answer, or None if it is not JSON."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _server_message(response: HttpResponse, document: Any) -> str:
    """Return the server's words, shortened and on one line.

    Azure DevOps sends ``{"message": …}``, or ``Message``, also within ``value``; plain text; or a page with a title.

    :param document: the answer's JSON document, or None if it is not JSON.
    """
    for holder in (document, document.get("value") if isinstance(document, dict) else None):
        for name in ("message", "Message"):
            if isinstance(holder, dict) and holder.get(name):
                return _plain(str(holder[name])) or _NO_MESSAGE
    if document is not None:
        return _NO_MESSAGE
    text = response.body[:_MAX_READ_FOR_MESSAGE].decode(errors="replace")
    if text.lstrip().startswith("<"):
        title = _TITLE.search(text)
        text = html.unescape(title[1]) if title else ""
    return _plain(text) or _NO_MESSAGE


def _plain(text: str) -> str:
    """Return the text shortened and on one line, without control characters and without a period at its end."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 2 * _MAX_MESSAGE_LENGTH])
    return " ".join(printable.split())[:_MAX_MESSAGE_LENGTH].rstrip(". ")
