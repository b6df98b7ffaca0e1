"""The request of a task that waits for a run: the task's coordinates, its token and the run. Pure.

The tasks AzureFunction and InvokeRESTAPI send the coordinates as headers by default. Source: azure-pipelines-tasks,
task.json of both tasks, input ``headers``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

from shared.credentials import Secret
from shared.errors import InvalidWait
from shared.waits.plan_url import PlanUrls

COORDINATES: Final = ("PlanUrl", "ProjectId", "HubName", "PlanId", "JobId", "TimelineId", "TaskInstanceId", "AuthToken")
MAX_BODY_BYTES: Final = 64 * 1024

_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_HUB: Final = re.compile(r"[a-z]{1,32}", re.ASCII | re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,8192}", re.ASCII)
# Names of Azure ML jobs have letters, digits, dashes and underscores. Names of child jobs also have dots and colons.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}", re.ASCII)
_NAME: Final = r"[A-Za-z0-9_.-]{1,260}"
_WORKSPACE: Final = re.compile(  # only the name of a resource group may have letters of other alphabets
    rf"{_NAME}|/?subscriptions/{_NAME}/resourceGroups/(?u:[\w.()-]{{1,90}})"
    rf"/providers/Microsoft\.MachineLearningServices/workspaces/{_NAME}/?",
    re.ASCII | re.IGNORECASE,
)
_MACRO: Final = re.compile(r"\$[(\[{]")


@dataclass(frozen=True, slots=True)
class Task:
    """The coordinates of a task in Azure DevOps: one task of one job of one pipeline run.

    :param plan_url: the address of the organization or collection, without a final slash.
    """

    plan_url: str
    project_id: str
    hub_name: str
    plan_id: str
    job_id: str
    timeline_id: str
    task_instance_id: str

    @property
    def key(self) -> str:
        """The SHA-256 of the coordinates, in hex. It identifies the task."""
        return sha256(json.dumps([part.lower() for part in asdict(self).values()]).encode()).hexdigest()

    def __str__(self) -> str:
        return f"task {self.task_instance_id} of plan {self.plan_id}"


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """A task asks to be completed when a run has ended.

    :param workspace: the name or resource id of the run's workspace; None if the request names none.
    """

    task: Task
    token: Secret
    run_id: str
    workspace: str | None = None


def task_problem(task: Task, plan_urls: PlanUrls) -> str | None:
    """Return why no request may be sent about a task that was read from the journal; None if one may."""
    for name, value in zip(COORDINATES[:-1], asdict(task).values(), strict=True):
        if (problem := _coordinate_problem(name, value, plan_urls)) is not None:
            return f"{name} {problem}"
    return None


def is_token(text: str) -> bool:
    """Return whether a string has the form of a task's token."""
    return _TOKEN.fullmatch(text) is not None


def read_request(headers: Mapping[str, str], body: bytes, plan_urls: PlanUrls) -> WaitRequest:
    """Read the request of a task. A coordinate that is not in the headers may be in the body.

    :raises InvalidWait: a field is wrong. The error lists every wrong field and contains no token.
    """
    problems: dict[str, str] = {}
    document = _read_body(body, problems)
    given = _coordinates(headers, document)
    found = {name: _coordinate_problem(name, value, plan_urls) for name, value in given.items()}
    run_id, workspace = document.get("run_id"), document.get("workspace")
    if "body" not in problems:
        found["run_id"] = _text_problem(
            run_id, _RUN_ID, "the name of an Azure ML job, as printed by 'az ml job create'"
        )
        if workspace is not None and workspace != "":
            found["workspace"] = _text_problem(workspace, _WORKSPACE, "a workspace's name or resource id")
    if problems := problems | {name: problem for name, problem in found.items() if problem is not None}:
        raise InvalidWait(problems)
    return WaitRequest(
        Task(given["PlanUrl"].rstrip("/"), *(given[name] for name in COORDINATES[1:-1])),
        Secret(given["AuthToken"]),
        str(run_id),
        str(workspace) if workspace else None,
    )


def _read_body(body: bytes, problems: dict[str, str]) -> dict[str, Any]:
    example = 'must be a JSON object such as {"run_id": "$(runId)"}'
    if len(body) > MAX_BODY_BYTES:
        problems["body"] = f"has more than {MAX_BODY_BYTES} bytes; it {example}"
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        problems["body"] = example
        return {}
    return document


def _coordinates(headers: Mapping[str, str], document: Mapping[str, Any]) -> dict[str, str]:
    sent = {name.lower(): value for name, value in headers.items()}
    written = {name.lower(): value for name, value in document.items() if isinstance(value, str)}
    found = {name: (sent.get(name.lower()) or written.get(name.lower()) or "").strip() for name in COORDINATES}
    return found | {"AuthToken": found["AuthToken"].removeprefix("Bearer ")}


def _coordinate_problem(name: str, value: str, plan_urls: PlanUrls) -> str | None:
    if not value:
        return "is missing; the task sends it as a header unless its 'headers' input was changed"
    if name == "AuthToken":
        wrong = (
            "was not replaced by Azure Pipelines" if _MACRO.match(value) else "contains characters that no token has"
        )
        return None if _TOKEN.fullmatch(value) else f"{wrong}; it must be $(system.AccessToken)"
    if name == "PlanUrl" and not _MACRO.match(value):
        return plan_urls.problem(value)
    pattern, what = (_HUB, "letters only, such as 'build'") if name == "HubName" else (_GUID, "a GUID")
    return _text_problem(value, pattern, what)


def _text_problem(value: object, pattern: re.Pattern[str], what: str) -> str | None:
    if not isinstance(value, str) or not value:
        return f"is missing or not a string; it must be {what}"
    if _MACRO.search(value):
        return f"is {value[:60]!r}, which Azure Pipelines did not replace; check that this variable exists in the job"
    return None if pattern.fullmatch(value) else f"is {value[:60]!r}; it must be {what}"
