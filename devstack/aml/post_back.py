"""Azure ML's own post-back: a webhook of a job, which completes an agentless task when the job ends.

A task registers it with ``PATCH {workspace}/jobs/{name}``. The body holds the task's coordinates and its token. Source:
Microsoft Learn, "Use Azure Pipelines with Azure Machine Learning" (2026-01-14), and Azure ML's REST API 2024-04-01,
``NotificationSetting``. As on Microsoft's page, the names of the fields are not case-sensitive.

Two things are not documented. The emulator assumes the worst, so that no test relies on more: a post-back is sent once
and never repeated, and a job that has ended before the registration sends none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULTS: Mapping[str, str] = {"Completed": "succeeded", "Failed": "failed", "Canceled": "canceled"}
"""The result of the task for each final status of the job."""


class PostBackError(ValueError):
    """A request does not describe a post-back. The message names the field, but no secret."""


@dataclass(frozen=True, kw_only=True)
class PostBack:
    """The coordinates of a waiting task, and its token."""

    plan_uri: str
    project_id: str
    hub_name: str
    plan_id: str
    job_id: str
    task_instance_id: str
    auth_token: str = field(repr=False)

    @property
    def url(self) -> str:
        hub = f"{self.plan_uri.rstrip('/')}/{self.project_id}/_apis/distributedtask/hubs/{self.hub_name}"
        return f"{hub}/plans/{self.plan_id}/events?api-version=2.0-preview.1"

    def body(self, status: str) -> dict[str, str]:
        """Return the event that completes the task, for a final status of the job."""
        task = {"taskId": self.task_instance_id, "jobId": self.job_id}
        return {"name": "TaskCompleted", **task, "result": RESULTS[status]}


def read_post_backs(document: object) -> tuple[PostBack, ...]:
    """Read the post-backs from the body of a PATCH request.

    :raises PostBackError: the body does not describe any, or a field is wrong.
    """
    webhooks: Any = document
    for name in ("properties", "notificationSetting", "webhooks"):
        webhooks = _lowered(webhooks, "the body").get(name.lower())
        if webhooks is None:
            raise PostBackError(f"the body must have {name}")
    if not _lowered(webhooks, "webhooks"):
        raise PostBackError("webhooks must not be empty")
    return tuple(_read(name, webhook) for name, webhook in webhooks.items())


def _read(name: str, webhook: object) -> PostBack:
    given = _lowered(webhook, name)
    for key, wanted in (("webhookType", "AzureDevOps"), ("eventType", "RunTerminated")):
        if str(given.get(key.lower())).lower() != wanted.lower():
            raise PostBackError(f"{name}: {key} must be {wanted}")
    values: dict[str, str] = {}
    for each in fields(PostBack):
        value = given.get(each.name.replace("_", ""))
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
            raise PostBackError(f"{name}: {each.name.title().replace('_', '')} must be a string without spaces")
        values[each.name] = value
    if not re.match(r"https?://[^/]", values["plan_uri"]):
        raise PostBackError(f"{name}: PlanUri must be an http or https URL")
    return PostBack(**values)


def _lowered(document: object, what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise PostBackError(f"{what} must be a JSON object")
    return {key.lower(): value for key, value in document.items()}
