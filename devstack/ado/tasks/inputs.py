"""The inputs of the two agentless tasks that send an HTTP request, and the request that they make of them.

Source: ``task.json`` of AzureFunction@1 and InvokeRESTAPI@1 (azure-pipelines-tasks): the URL's form, the default
headers, and that macros are expanded in all of it. The emulator's tasks run as with ``waitForCompletion: "true"``.
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
"""What both tasks send unless their ``headers`` input says something else."""

_MACRO = re.compile(r"\$\(([\w.]+)\)")


class TaskInputError(ValueError):
    """Inputs of which no request can be made; the text says which one and why, and holds no secret."""


@dataclass(frozen=True)
class TaskRequest:
    """The POST of a task. ``shown_url`` is the URL as a log may show it; everything else may hold a secret."""

    url: str = field(repr=False)
    shown_url: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AzureFunction:
    """AzureFunction@1. ``body`` is text, or a JSON document; ``headers`` replace the default ones."""

    function: str
    key: str = field(default="", repr=False)
    query_parameters: str = ""
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "AzureFunction"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """:raises TaskInputError: the URL cannot be requested."""
        ends = f"&{self.query_parameters}"
        url, shown = (expanded(f"{self.function}?code={key}{ends}", variables) for key in (self.key, MASK))
        return _request("function", url, shown, self.headers, self.body, variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key,)


@dataclass(frozen=True, kw_only=True)
class InvokeRestApi:
    """InvokeRESTAPI@1 with a generic service connection of this URL, which may add an Authorization header."""

    service_url: str
    url_suffix: str = ""
    authorization: str = field(default="", repr=False)
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "InvokeRESTAPI"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """:raises TaskInputError: the URL cannot be requested."""
        url = expanded(f"{self.service_url}{self.url_suffix}", variables)
        headers = {**self.headers, "Authorization": self.authorization} if self.authorization else self.headers
        return _request("serviceConnection", url, _without_code(url), headers, self.body, variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        code = re.search(r"[?&]code=([^&]+)", f"{self.service_url}{self.url_suffix}")
        return (self.authorization, code[1] if code else "")


TaskInputs = AzureFunction | InvokeRestApi


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """The text with its ``$(name)`` replaced, names in any case; an unknown one stays, as in Azure Pipelines."""
    known = {name.lower(): value for name, value in variables.items()}
    return _MACRO.sub(lambda match: known.get(match[1].lower(), match[0]), text)


def _request(
    url_input: str, url: str, shown: str, headers: Mapping[str, str], body: object, variables: Mapping[str, str]
) -> TaskRequest:
    _check_url(url_input, url)
    text = body if isinstance(body, str) else json.dumps(body)
    values = {name: expanded(value, variables) for name, value in headers.items()}
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise TaskInputError(f"headers: {name!r} is not a header of printable ASCII")
    return TaskRequest(url, shown, values, expanded(text, variables))


def _check_url(url_input: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise TaskInputError(f"{url_input}: is not the http or https URL of a function or service")


def _without_code(url: str) -> str:
    return re.sub(r"([?&]code=)[^&]+", rf"\g<1>{MASK}", url)
