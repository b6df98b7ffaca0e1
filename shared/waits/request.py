"""What a task says when it asks to be told of a run's end: its coordinates, its token, the run. Pure.

Both AzureFunction and InvokeRESTAPI send the coordinates as headers by default. Source: the tasks' own definitions
(azure-pipelines-tasks, task.json, input ``headers``).
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
# Azure ML's names of jobs: letters, digits, dashes and underscores; the children's have dots and colons too.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}", re.ASCII)
_WORKSPACE: Final = re.compile(r"[A-Za-z0-9_.()/ -]{1,400}", re.ASCII)
_MACRO: Final = re.compile(r"\$[(\[{]")


@dataclass(frozen=True, slots=True)
class Task:
    """One task of one job of one run of a pipeline: where Azure DevOps finds it.

    :param plan_url: the organization's or collection's address, no final slash.
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
        """SHA-256, in hex, of what tells the task from all others."""
        return sha256(json.dumps([part.lower() for part in asdict(self).values()]).encode()).hexdigest()

    def __str__(self) -> str:
        return f"task {self.task_instance_id} of plan {self.plan_id}"


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """A task wants to be told when a run has ended.

    :param workspace: the workspace's name or resource id; None where the run may be in any.
    """

    task: Task
    token: Secret
    run_id: str
    workspace: str | None = None


def read_request(headers: Mapping[str, str], body: bytes, plan_urls: PlanUrls) -> WaitRequest:
    """Read what a task has sent: coordinates from the headers, or else from the body.

    :raises InvalidWait: names every wrong field; shows no token.
    """
    problems: dict[str, str] = {}
    document = _read_body(body, problems)
    given = _coordinates(headers, document)
    found = {name: _coordinate_problem(name, value, plan_urls) for name, value in given.items()}
    run_id, workspace = document.get("run_id"), document.get("workspace")
    if "body" not in problems:
        found["run_id"] = _text_problem(run_id, _RUN_ID, "the name of an Azure ML job, as 'az ml job create' prints it")
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
    example = 'must be JSON as in {"run_id": "$(runId)"}'
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
        wrong = "was not replaced by Azure Pipelines" if _MACRO.match(value) else "has characters that no token has"
        return None if _TOKEN.fullmatch(value) else f"{wrong}; it must be $(system.AccessToken)"
    if name == "PlanUrl" and not _MACRO.match(value):
        return plan_urls.problem(value)
    pattern, what = (_HUB, "letters only, as in 'build'") if name == "HubName" else (_GUID, "a GUID")
    return _text_problem(value, pattern, what)


def _text_problem(value: object, pattern: re.Pattern[str], what: str) -> str | None:
    if not isinstance(value, str) or not value:
        return f"is missing or not text; it must be {what}"
    if _MACRO.match(value):
        return f"is {value[:60]!r}, which Azure Pipelines did not replace; is the variable set where it is read?"
    return None if pattern.fullmatch(value) else f"is {value[:60]!r}; it must be {what}"
