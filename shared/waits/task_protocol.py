"""The requests and answers of Azure DevOps' task API that complete an agentless task. Pure.

Source: Azure DevOps REST API, distributedtask - Events, Logs and Records. For the version and body of events:
documentation of the tasks, "Where should a task signal completion?".
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from shared.azure_devops import runs
from shared.errors import AnswerLost, RequestRefused
from shared.http.message import HttpRequest
from shared.waits.request import Task

EVENTS_VERSION: Final = "2.0-preview.1"
API_VERSION: Final = f"{runs.API_VERSION}-preview.1"


def complete_task(task: Task, result: str) -> HttpRequest:
    """Return the request that completes a task: ``POST …/events``.

    :param result: ``succeeded``, ``failed`` or ``canceled``.
    """
    body = {"name": "TaskCompleted", "taskId": task.task_instance_id, "jobId": task.job_id, "result": result}
    return _request("POST", task, "events", body, EVENTS_VERSION)


def list_records(task: Task) -> HttpRequest:
    """Return the request for the states of the plan's tasks: ``GET …/timelines/{id}/records``."""
    return _request("GET", task, f"timelines/{task.timeline_id}/records")


def read_is_over(document: Any, task: Task) -> bool:
    """Read the answer to ``list_records``. Return whether the task has ended, with any result.

    :raises RequestRefused: the plan has no such task.
    :raises AnswerLost: the answer is not a list of records.
    """
    try:
        states = {record["id"].lower(): record.get("state") for record in document["value"]}
    except (TypeError, KeyError, AttributeError) as exc:
        raise AnswerLost("the answer is not a list of timeline records") from exc
    if task.task_instance_id.lower() not in states:
        raise RequestRefused(f"the plan {task.plan_id} has no task {task.task_instance_id}", not_found=True)
    return bool(states[task.task_instance_id.lower()] == "completed")


def append_to_feed(task: Task, lines: Sequence[str]) -> HttpRequest:
    """Return the request that shows lines in the live console: ``POST …/feed``."""
    path = f"timelines/{task.timeline_id}/records/{task.task_instance_id}/feed"
    return _request("POST", task, path, {"value": list(lines), "count": len(lines)})


def create_log(task: Task) -> HttpRequest:
    """Return the request that creates a log: ``POST …/logs``."""
    return _request("POST", task, "logs", {"path": f"logs\\{task.task_instance_id}"})


def read_log_id(document: Any) -> int:
    """Read the answer to ``create_log``. Return the id of the log.

    :raises AnswerLost: the answer contains no log id.
    """
    log_id = document.get("id") if isinstance(document, dict) else None
    if type(log_id) is not int:
        raise AnswerLost("the answer contains no log id")
    return log_id


def append_to_log(task: Task, log_id: int, lines: Sequence[str]) -> HttpRequest:
    """Return the request that writes lines into a log, as plain text: ``POST …/logs/{id}``."""
    text = "".join(f"{line}\n" for line in lines).encode()
    request = _request("POST", task, f"logs/{log_id}")
    return runs.azure_devops_request(request.method, request.url, text, "application/octet-stream")


def attach_log(task: Task, log_id: int) -> HttpRequest:
    """Return the request that attaches a log to the task: ``PATCH …/records``."""
    record = {"id": task.task_instance_id, "log": {"id": log_id, "path": f"logs\\{task.task_instance_id}"}}
    return _request("PATCH", task, f"timelines/{task.timeline_id}/records", {"value": [record], "count": 1})


def plan_address(task: Task) -> str:
    """Return the address of the task's plan. There, Azure DevOps names the pipeline run as the plan's owner."""
    plan = f"hubs/{quote(task.hub_name, safe='')}/plans/{task.plan_id}"
    return f"{task.plan_url}/{task.project_id}/_apis/distributedtask/{plan}"


def _request(method: str, task: Task, path: str, body: object | None = None, version: str = API_VERSION) -> HttpRequest:
    url = f"{plan_address(task)}/{path}?api-version={version}"
    return runs.azure_devops_request(method, url, None if body is None else json.dumps(body).encode())
