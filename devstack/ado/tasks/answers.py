"""The timeline of a plan in the Task API: a record for the job, one for the task, and those that clients add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devstack.ado.schemas import RECORD_FIELDS
from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from devstack.ado.tasks.records import PlanRecord, TaskRecord

# Source: task.json of the two tasks. The ID of AzureMLJobWaitTask, which is not public, is made up.
_TASK_DEFINITIONS = {
    "AzureMLJobWaitTask": "00000000-0000-0000-0000-0000000000a1",
    "AzureFunction": "537fdb7a-a601-4537-aa70-92645a2b5ce4",
    "InvokeRESTAPI": "9c3e8943-130d-4c78-ac63-8af81df62dfb",
}
# These fields are left out if they are empty.
_OPTIONAL_FIELDS = {"queueId", "issues", "variables", "previousAttempts", "agentSpecification"}


def timeline_records(root: str, plan: PlanRecord, task: TaskRecord) -> list[dict[str, object]]:
    """Return all records of a timeline, with the changes that clients have made.

    :param root: the URL of the organization.
    """
    own = [_job_record(plan, task), _task_record(task)]
    own_ids = {record["id"] for record in own}
    added: list[dict[str, object]] = [{"id": record_id} for record_id in plan.records if record_id not in own_ids]
    return [_complete(root, plan, record) for record in (*own, *added)]


def _complete(root: str, plan: PlanRecord, record: dict[str, object]) -> dict[str, object]:
    plan_url = f"{root}/_apis/distributedtask/plans/{plan.id}"
    document: dict[str, object] = {name: None for name in RECORD_FIELDS if name not in _OPTIONAL_FIELDS}
    document |= {
        "errorCount": 0,
        "warningCount": 0,
        "attempt": 1,
        "changeId": 1,
        "lastModified": timestamp(plan.started),
    }
    document |= record
    document |= plan.records.get(str(record["id"]), {})
    document["location"] = f"{plan_url}/timelines/{plan.timeline_id}/records/{record['id']}"
    log = document["log"]
    if isinstance(log, dict):
        document["log"] = {"id": log["id"], "location": f"{plan_url}/logs/{log['id']}"}
    return document


def _job_record(plan: PlanRecord, task: TaskRecord) -> dict[str, object]:
    return {**_progress(task), "id": plan.job_id, "type": "Job", "name": "Job", "order": 1, "refName": "Job"}


def _task_record(task: TaskRecord) -> dict[str, object]:
    definition = {"id": _TASK_DEFINITIONS[task.name], "name": task.name, "version": "1.0.0"}
    return {
        **_progress(task),
        "id": task.id,
        "parentId": task.job_id,
        "type": "Task",
        "name": task.name,
        "order": 1,
        "refName": task.name,
        "task": definition,
    }


def _progress(task: TaskRecord) -> dict[str, object]:
    return {
        "startTime": timestamp(task.started),
        "finishTime": timestamp(task.finished) if task.finished else None,
        "state": "completed" if task.result else "inProgress",
        "result": task.result,
    }
