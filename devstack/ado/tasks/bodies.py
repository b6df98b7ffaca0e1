"""Reads what clients send to the task hub: events, logs, timeline records, console lines.

Only what Azure DevOps' Task API describes is taken; anything else is refused with 400, so that a client which sends
something else is noticed here and not in production. Ids are answered in lower case.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast, get_args

from devstack.ado.errors import invalid_argument
from devstack.ado.tasks.hub import TaskEvent
from devstack.ado.tasks.records import TaskResult

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# The events that an agentless task knows. Source: azure-pipelines-tasks, docs on authoring server tasks.
_EVENT_NAMES = ("TaskAssigned", "TaskStarted", "TaskCompleted")
_LOG_FIELDS = {"path", "id", "location", "createdOn", "lastChangedOn", "lineCount", "indexLocation"}
_FEED_FIELDS = {"value", "count", "startLine", "endLine", "stepId"}
_RECORD_STATES = ("pending", "inProgress", "completed")
# Source: TimelineRecord of Azure DevOps' Task API (7.1).
RECORD_FIELDS = (
    "id",
    "parentId",
    "type",
    "name",
    "startTime",
    "finishTime",
    "currentOperation",
    "percentComplete",
    "state",
    "result",
    "resultCode",
    "changeId",
    "lastModified",
    "workerName",
    "queueId",
    "order",
    "refName",
    "log",
    "details",
    "errorCount",
    "warningCount",
    "issues",
    "variables",
    "task",
    "location",
    "attempt",
    "identifier",
    "previousAttempts",
    "agentSpecification",
)


def read_event(body: Mapping[str, object]) -> TaskEvent:
    """``{"name", "taskId", "jobId"}``, and with TaskCompleted a ``result``."""
    name = body.get("name")
    if name not in _EVENT_NAMES:
        raise invalid_argument(f"The name of the event must be one of {', '.join(_EVENT_NAMES)}.")
    completed = name == "TaskCompleted"
    _check_fields(body, {"name", "taskId", "jobId", *(["result"] if completed else [])})
    result = body.get("result")
    if completed and result not in get_args(TaskResult):
        raise invalid_argument(f"The result of TaskCompleted must be one of {', '.join(get_args(TaskResult))}.")
    return TaskEvent(
        name=str(name),
        job_id=guid(body, "jobId"),
        task_id=guid(body, "taskId"),
        result=cast("TaskResult", result) if completed else None,
    )


def read_log_path(body: Mapping[str, object]) -> str:
    """The path of a TaskLog that is to be made."""
    _check_fields(body, _LOG_FIELDS)
    path = body.get("path")
    if not isinstance(path, str) or not path.strip():
        raise invalid_argument("The path of the log must be a string that is not empty.")
    return path


def read_feed(body: Mapping[str, object]) -> list[str]:
    """The lines of ``{"value": […], "count": …}``."""
    _check_fields(body, _FEED_FIELDS)
    lines = _values(body)
    if not lines or not all(isinstance(line, str) for line in lines):
        raise invalid_argument("The lines must be a list of strings that is not empty.")
    return [str(line) for line in lines]


def read_records(body: Mapping[str, object], log_ids: Collection[int]) -> dict[str, dict[str, object]]:
    """What is to be changed of which records; null means that a field stays as it is.

    :param log_ids: the logs that there are; 0 stands for none.
    """
    _check_fields(body, {"value", "count"})
    changes: dict[str, dict[str, object]] = {}
    for record in _values(body):
        if not isinstance(record, dict):
            raise invalid_argument("Each timeline record must be an object.")
        _check_fields(record, RECORD_FIELDS)
        change = {name: value for name, value in record.items() if value is not None}
        change["id"] = record_id = guid(record, "id")
        _check_record(change, log_ids)
        changes[record_id] = {**changes.get(record_id, {}), **change}
    return changes


def guid(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    try:
        return str(uuid.UUID(value if isinstance(value, str) else ""))
    except ValueError as exc:
        raise invalid_argument(f"{key} must be a GUID.") from exc


def _check_fields(body: Mapping[str, object], known: Collection[str]) -> None:
    unknown = [name for name in body if name not in known]
    if unknown:
        raise invalid_argument(f"There is no {', '.join(unknown)} here; there are {', '.join(sorted(known))}.")


def _values(body: Mapping[str, object]) -> list[object]:
    """What a collection wraps; its count, where there is one, must be right."""
    values = body.get("value")
    if not isinstance(values, list):
        raise invalid_argument("value must be a list.")
    count = body.get("count")
    if count is not None and (isinstance(count, bool) or count != len(values)):
        raise invalid_argument(f"count must be the number of values, which is {len(values)}.")
    return values


def _check_record(change: dict[str, object], log_ids: Collection[int]) -> None:
    for key, values in (("state", _RECORD_STATES), ("result", get_args(TaskResult))):
        if key in change and change[key] not in values:
            raise invalid_argument(f"The {key} of a timeline record must be one of {', '.join(values)}.")
    if "log" not in change:
        return
    log = change["log"]
    log_id = log.get("id") if isinstance(log, dict) else None
    if isinstance(log_id, bool) or not isinstance(log_id, int) or log_id not in {0, *log_ids}:
        raise invalid_argument('The log of a timeline record must be one that was created: {"id": …}.')
    change["log"] = {"id": log_id}
    if not log_id:
        del change["log"]
