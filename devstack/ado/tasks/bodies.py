"""Reads what clients send to the task hub: events, timeline records, console lines.

Only what Azure DevOps' Task API describes is taken (see schemas.json); anything else is refused with 400, so that a
client which sends something else is noticed here and not in production. Ids are answered in lower case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devstack.ado.errors import invalid_argument
from devstack.ado.tasks.hub import TaskEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def read_event(body: Mapping[str, Any]) -> TaskEvent:
    """``{"name", "taskId", "jobId"}``, and with TaskCompleted a ``result``."""
    return TaskEvent(body["name"], body["jobId"].lower(), body["taskId"].lower(), body.get("result"))


def read_values(body: Mapping[str, Any]) -> list[Any]:
    """What a collection wraps; its count, where there is one, must be right."""
    values: list[Any] = body["value"]
    if body.get("count") not in {None, len(values)}:
        raise invalid_argument(f"count must be the number of values, which is {len(values)}.")
    return values


def read_records(body: Mapping[str, Any], log_ids: Collection[int]) -> dict[str, dict[str, object]]:
    """What is to be changed of which records; null means that a field stays as it is.

    :param log_ids: the logs that there are; 0 stands for none.
    """
    changes: dict[str, dict[str, object]] = {}
    for record in read_values(body):
        change = {name: value for name, value in record.items() if value is not None}
        change["id"] = record_id = record["id"].lower()
        log_id = change.pop("log", {"id": 0})["id"]
        if log_id not in {0, *log_ids}:
            raise invalid_argument('The log of a timeline record must be one that was created: {"id": …}.')
        if log_id:
            change["log"] = {"id": log_id}
        changes[record_id] = {**changes.get(record_id, {}), **change}
    return changes
