"""The inputs of the two agentless tasks that send an HTTP request, and the resulting request.

Source: ``task.json`` of AzureFunction@1 and InvokeRESTAPI@1 (azure-pipelines-tasks). It defines the form of the URL,
the default headers, and that macros are expanded in all inputs. The emulator's tasks behave as with
``waitForCompletion: "true"``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from devstack.ado.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HEADERS: Mapping[str, str] = {
    "Content-Type": "application/json",
    "PlanUrl": "$(system.CollectionUri)",
    "ProjectId": "$(system.TeamProjectId)",
    "HubName": "$(system.HostType)",
    "PlanId": "$(system.PlanId)",
    "JobId": "$(system.JobId)",
    "TimelineId": "$(system.TimelineId)",
    "TaskInstanceId": "$(system.TaskInstanceId)",
    "AuthToken": "$(system.AccessToken)",
}
"""The default of the ``headers`` input of both tasks."""

_MACRO = re.compile(r"\$\(([\w.]+)\)")


class TaskInputError(ValueError):
    """The inputs do not describe a valid request. The message names the input and the reason, but no secret."""


@dataclass(frozen=True)
class TaskRequest:
    """The POST request of a task. Only ``masked_url`` may be shown; everything else may contain a secret."""

    url: str = field(repr=False)
    masked_url: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AzureFunction:
    """AzureFunction@1. ``body`` is a string or a JSON document. ``headers`` replace the default headers."""

    function: str
    key: str = field(default="", repr=False)
    query_parameters: str = ""
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "AzureFunction"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """Return the task's request.

        :raises TaskInputError: the URL or a header is invalid.
        """
        more = f"&{self.query_parameters}"
        url, masked = (expand(f"{self.function}?code={key}{more}", variables) for key in (self.key, MASK))
        return _request("function", url, masked, self.headers, self.body, variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key,)


@dataclass(frozen=True, kw_only=True)
class InvokeRestApi:
    """InvokeRESTAPI@1 with a generic service connection, which has a URL and optionally an Authorization header."""

    service_url: str
    url_suffix: str = ""
    authorization: str = field(default="", repr=False)
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "InvokeRESTAPI"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """Return the task's request.

        :raises TaskInputError: the URL or a header is invalid.
        """
        url = expand(f"{self.service_url}{self.url_suffix}", variables)
        headers = {**self.headers, "Authorization": self.authorization} if self.authorization else self.headers
        return _request("serviceConnection", url, _without_code(url), headers, self.body, variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        code = re.search(r"[?&]code=([^&]+)", f"{self.service_url}{self.url_suffix}")
        return (self.authorization, code[1] if code else "")


TaskInputs = AzureFunction | InvokeRestApi


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each ``$(name)`` with its value. As in Azure Pipelines, ignore the case, and keep unknown names."""
    known = {name.lower(): value for name, value in variables.items()}
    return _MACRO.sub(lambda match: known.get(match[1].lower(), match[0]), text)


def _request(
    url_input: str, url: str, masked_url: str, headers: Mapping[str, str], body: object, variables: Mapping[str, str]
) -> TaskRequest:
    _check_url(url_input, url)
    text = body if isinstance(body, str) else json.dumps(body)
    values = {name: expand(value, variables) for name, value in headers.items()}
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise TaskInputError(f"headers: the name and value of {name!r} must be printable ASCII")
    return TaskRequest(url, masked_url, values, expand(text, variables))


def _check_url(url_input: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise TaskInputError(f"{url_input}: must be an http or https URL")


def _without_code(url: str) -> str:
    return re.sub(r"([?&]code=)[^&]+", rf"\g<1>{MASK}", url)
