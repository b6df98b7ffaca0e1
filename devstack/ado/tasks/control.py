"""The emulator's control addresses for agentless tasks and Azure ML jobs. See control_api.py.

``POST /_emulator/tasks`` starts a plan with one task that waits::

    {"task": "AzureFunction@1", "timeoutInMinutes": 60, "earlyEvents": "taken",
     "inputs": {"function": "http://127.0.0.1:7071/api/waits", "key": "…", "queryParameters": "",
                "body": {"run_id": "…"}, "headers": {…}}}
    {"task": "AzureFunction@2", "inputs": {"function": "…", "authorization": "Bearer …", "body": …}}
    {"task": "InvokeRESTAPI@1",
     "inputs": {"serviceConnection": {"url": "http://127.0.0.1:7071", "authorization": "Basic …"},
                "urlSuffix": "/api/waits?code=…", "method": "POST", "body": …, "headers": {…}}}
    {"task": "AzureMLJobWaitTask@1",
     "inputs": {"serviceConnection": {"url": "http://127.0.0.1:7080", "authorization": "Bearer …"},
                "job": "/subscriptions/…/jobs/brave_fig"}}

Everything except the URL and the job is optional. Without ``inputs``, the emulator sends no request. Its answer then
contains the coordinates and the job token in ``headers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devstack.ado.call import Call, json_answer
from devstack.ado.errors import ApiError, invalid_argument
from devstack.ado.tasks.inputs import (
    DEFAULT_HEADERS,
    AmlJobWait,
    AzureFunction,
    InvokeRestApi,
    TaskInputError,
    TaskInputs,
)
from devstack.ado.tasks.start import start_wait_task
from devstack.aml.jobs import JobError

if TYPE_CHECKING:
    from uuid import UUID

    from werkzeug.wrappers import Response

    from devstack.ado.tasks.records import TaskRecord


def start_task(call: Call) -> Response:
    """Start a task and return it as ``{"task": …}``, in the form of the books. Without inputs, add ``headers``."""
    body = call.body("task")
    inputs = _inputs(body["inputs"]) if "inputs" in body else None
    try:
        started = start_wait_task(
            call.state,
            call.root,
            inputs,
            timeout_minutes=body.get("timeoutInMinutes"),
            early_events=body.get("earlyEvents"),
        )
    except TaskInputError as exc:
        raise invalid_argument(str(exc)) from exc
    document: dict[str, object] = {"task": started.record.document()}
    if inputs is None:
        document["headers"] = started.headers
    return json_answer(document, 201)


def get_task(call: Call, task_id: UUID) -> Response:
    return _shown(call, call.books.task_hub.task(str(task_id)))


def time_task_out(call: Call, task_id: UUID) -> Response:
    """Let a task time out: ``{"timedOut": true}``. Answer 409 if the task has already ended."""
    if call.json_object() != {"timedOut": True}:
        raise invalid_argument('The body must be {"timedOut": true}.')
    task = call.books.task_hub.time_out(str(task_id))
    if task.ended_by != "timeout":
        message = f"Task {task_id} has already ended with the result {task.result}."
        raise ApiError(409, "Devstack", "TaskEndedException", message)
    return _shown(call, task)


def _shown(call: Call, task: TaskRecord) -> Response:
    return json_answer(call.books.task_hub.masker.document(task.document()))


def end_plan(call: Call, plan_id: UUID) -> Response:
    """End a plan: ``{"result": "canceled"}``, "succeeded" or "failed".

    An optional ``status``, 404 or 410, is the status of the answers to later calls for the plan.
    """
    order = call.body("plan_end")
    plan = call.books.task_hub.end_plan(str(plan_id), order["result"], order.get("status"))
    return json_answer({"planId": plan.id, "result": plan.result, "status": plan.ended_status})


def expire_token(call: Call, plan_id: UUID) -> Response:
    """Let the job token of a plan expire."""
    call.books.task_hub.expire_token(str(plan_id))
    return json_answer({"planId": str(plan_id), "token": "expired"})


def set_job(call: Call) -> Response:
    """Set an Azure ML job: ``{"workspace": "/subscriptions/…/workspaces/…", "name": …, "status": …}``."""
    try:
        job = call.books.jobs.set(**call.body("job"))
    except JobError as exc:
        raise invalid_argument(str(exc)) from exc
    return json_answer(job.book_entry())


def _inputs(document: dict[str, Any]) -> TaskInputs:
    body = document.get("body")
    more = {"body": "" if body is None else body, "headers": document.get("headers", DEFAULT_HEADERS)}
    if "function" in document:
        return AzureFunction(
            function=document["function"],
            key=document.get("key", ""),
            query_parameters=document.get("queryParameters", ""),
            authorization=document.get("authorization", ""),
            **more,
        )
    connection = document["serviceConnection"]
    service = {"service_url": connection["url"], "authorization": connection.get("authorization", "")}
    if "job" in document:
        return AmlJobWait(job=document["job"], **service)
    suffix, method = document.get("urlSuffix", ""), document.get("method", "POST")
    return InvokeRestApi(url_suffix=suffix, method=method, **service, **more)
