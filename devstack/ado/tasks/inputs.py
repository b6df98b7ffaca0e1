"""The inputs of the agentless tasks that send an HTTP request, and the resulting request.

Source: ``task.json`` of AzureFunction@1 and @2 and of InvokeRESTAPI@1 (azure-pipelines-tasks). It defines the form of
the URL, the default headers, and that macros are expanded in all inputs. The emulator's tasks behave as with
``waitForCompletion: "true"``. AzureMLJobWaitTask@1 is in an extension whose source is not public.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from devstack.ado.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

_TASK: Mapping[str, str] = {
    "ProjectId": "$(system.TeamProjectId)",
    "HubName": "$(system.HostType)",
    "PlanId": "$(system.PlanId)",
    "JobId": "$(system.JobId)",
    "TimelineId": "$(system.TimelineId)",
    "TaskInstanceId": "$(system.TaskInstanceId)",
    "AuthToken": "$(system.AccessToken)",
}
_PLAN_URL = "$(system.CollectionUri)"

DEFAULT_HEADERS: Mapping[str, str] = {"Content-Type": "application/json", "PlanUrl": _PLAN_URL, **_TASK}
"""The default of the ``headers`` input of the tasks."""

POST_BACK: Mapping[str, object] = {
    "Properties": {
        "NotificationSetting": {
            "Webhooks": {
                "ADO_Webhook_$(system.TimelineId)": {
                    "WebhookType": "AzureDevOps",
                    "EventType": "RunTerminated",
                    "PlanUri": _PLAN_URL,
                    **_TASK,
                }
            }
        }
    }
}
"""The body of the request that registers Azure ML's post-back. See ``devstack/aml/post_back.py``."""

_MACRO = re.compile(r"\$\(([\w.]+)\)")


class TaskInputError(ValueError):
    """The inputs do not describe a valid request. The message names the input and the reason, but no secret."""


@dataclass(frozen=True)
class TaskRequest:
    """The request of a task. Only ``method`` and ``masked_url`` may be shown; the rest may contain a secret."""

    url: str = field(repr=False)
    masked_url: str
    headers: Mapping[str, str] = field(repr=False)
    body: str = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True, kw_only=True)
class AzureFunction:
    """AzureFunction@1 and @2. ``body`` is a string or a JSON document. ``headers`` replace the default headers.

    ``authorization`` is what an Azure service connection adds to a request of AzureFunction@2: ``Bearer`` and a token.
    """

    function: str
    key: str = field(default="", repr=False)
    query_parameters: str = ""
    authorization: str = field(default="", repr=False)
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "AzureFunction"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """Return the task's request.

        :raises TaskInputError: the URL or a header is invalid.
        """
        more = f"&{self.query_parameters}"
        url, masked = (expand(f"{self.function}?code={key}{more}", variables) for key in (self.key, MASK))
        headers = _with_authorization(self.headers, self.authorization)
        return _request("function", url, masked, headers, self.body, variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key, self.authorization)


@dataclass(frozen=True, kw_only=True)
class InvokeRestApi:
    """InvokeRESTAPI@1 with a service connection, which has a URL and optionally an Authorization header."""

    service_url: str
    url_suffix: str = ""
    authorization: str = field(default="", repr=False)
    method: str = "POST"
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=lambda: DEFAULT_HEADERS, repr=False)
    name = "InvokeRESTAPI"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """Return the task's request.

        :raises TaskInputError: the URL or a header is invalid.
        """
        url = expand(f"{self.service_url}{self.url_suffix}", variables)
        headers = _with_authorization(self.headers, self.authorization)
        request = _request("serviceConnection", url, _without_code(url), headers, self.body, variables)
        return replace(request, method=self.method)

    @property
    def secrets(self) -> tuple[str, ...]:
        code = re.search(r"[?&]code=([^&]+)", f"{self.service_url}{self.url_suffix}")
        return (self.authorization, code[1] if code else "")


@dataclass(frozen=True, kw_only=True)
class AmlJobWait:
    """AzureMLJobWaitTask@1, with a service connection to Azure Resource Manager.

    Its requests are not documented. Here it registers Azure ML's post-back, as Microsoft documents it for
    InvokeRESTAPI. ``job`` is the resource ID of the Azure ML job.
    """

    service_url: str
    job: str
    authorization: str = field(default="", repr=False)
    name = "AzureMLJobWaitTask"

    def request(self, variables: Mapping[str, str]) -> TaskRequest:
        """Return the task's request.

        :raises TaskInputError: the URL is invalid.
        """
        inputs = InvokeRestApi(
            service_url=self.service_url.rstrip("/"),
            url_suffix=f"{self.job}?api-version=2024-04-01",
            authorization=self.authorization,
            method="PATCH",
            body=POST_BACK,
            headers={"Content-Type": "application/json"},
        )
        return inputs.request(variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.authorization,)


TaskInputs = AzureFunction | InvokeRestApi | AmlJobWait


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each ``$(name)`` with its value. As in Azure Pipelines, ignore the case, and keep unknown names."""
    known = {name.lower(): value for name, value in variables.items()}
    return _MACRO.sub(lambda match: known.get(match[1].lower(), match[0]), text)


def _with_authorization(headers: Mapping[str, str], authorization: str) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers


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
