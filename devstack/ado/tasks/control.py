"""The emulator's own addresses for agentless tasks and Azure ML jobs: start, look, end. See control_api.py.

``POST /_emulator/tasks`` starts a plan whose one task waits::

    {"task": "AzureFunction@1", "timeoutInMinutes": 60, "earlyEvents": "taken",
     "inputs": {"function": "http://127.0.0.1:7071/api/waits", "key": "…", "queryParameters": "",
                "body": {"run_id": "…"}, "headers": {…}}}
    {"task": "InvokeRESTAPI@1",
     "inputs": {"serviceConnection": {"url": "http://127.0.0.1:7071", "authorization": "Basic …"},
                "urlSuffix": "/api/waits?code=…", "body": …, "headers": {…}}}

Everything but the URL may be left out. With no inputs at all nothing is sent, and the answer has the coordinates in
``headers``, job token included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devstack.ado.call import Call, json_answer
from devstack.ado.errors import ApiError, invalid_argument
from devstack.ado.tasks.inputs import DEFAULT_HEADERS, AzureFunction, InvokeRestApi, TaskInputError, TaskInputs
from devstack.ado.tasks.start import start_wait_task
from devstack.aml.jobs import JobError

if TYPE_CHECKING:
    from uuid import UUID

    from werkzeug.wrappers import Response

    from devstack.ado.tasks.records import TaskRecord


def start_task(call: Call) -> Response:
    """``{"task": …}``, the task as the books show it, and with no inputs ``headers`` beside it."""
    order = call.body("task")
    inputs = _inputs(order["inputs"]) if "inputs" in order else None
    try:
        started = start_wait_task(
            call.state,
            call.root,
            inputs,
            timeout_minutes=order.get("timeoutInMinutes"),
            early_events=order.get("earlyEvents"),
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
    """``{"timedOut": true}`` lets the task's time pass; one that has ended stays as it is: 409."""
    if call.json_object() != {"timedOut": True}:
        raise invalid_argument('The body must be {"timedOut": true}.')
    task = call.books.task_hub.time_out(str(task_id))
    if task.ended_by != "timeout":
        raise ApiError(409, "Devstack", "TaskEndedException", f"Task {task_id} has ended already: {task.result}.")
    return _shown(call, task)


def _shown(call: Call, task: TaskRecord) -> Response:
    return json_answer(call.books.task_hub.masker.document(task.document()))


def end_plan(call: Call, plan_id: UUID) -> Response:
    """``{"result": "canceled"}``, "succeeded" or "failed"; ``status`` 404 or 410 is what clients are answered then."""
    order = call.body("plan_end")
    plan = call.books.task_hub.end_plan(str(plan_id), order["result"], order.get("status"))
    return json_answer({"planId": plan.id, "result": plan.result, "status": plan.ended_status})


def expire_token(call: Call, plan_id: UUID) -> Response:
    """Ends the life of a plan's job token."""
    call.books.task_hub.expire_token(str(plan_id))
    return json_answer({"planId": str(plan_id), "token": "expired"})


def set_job(call: Call) -> Response:
    """``{"workspace": "/subscriptions/…/workspaces/…", "name": …, "status": …}``: an Azure ML job, new or changed."""
    try:
        job = call.books.jobs.set(**call.body("job"))
    except JobError as exc:
        raise invalid_argument(str(exc)) from exc
    return json_answer(job.book_entry())


def _inputs(document: dict[str, Any]) -> TaskInputs:
    body = document.get("body")
    more = {"body": "" if body is None else body, "headers": document.get("headers", DEFAULT_HEADERS)}
    if "function" in document:
        query = document.get("queryParameters", "")
        return AzureFunction(function=document["function"], key=document.get("key", ""), query_parameters=query, **more)
    connection = document["serviceConnection"]
    return InvokeRestApi(
        service_url=connection["url"],
        authorization=connection.get("authorization", ""),
        url_suffix=document.get("urlSuffix", ""),
        **more,
    )
