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

from typing import TYPE_CHECKING, cast, get_args

from devstack.ado.call import Call, json_answer
from devstack.ado.errors import ApiError, invalid_argument, plan_not_found
from devstack.ado.reader import MappingReader, Problems
from devstack.ado.tasks.inputs import DEFAULT_HEADERS, AzureFunction, InvokeRestApi, TaskInputError, TaskInputs
from devstack.ado.tasks.records import EarlyEvents, PlanResult
from devstack.ado.tasks.start import start_wait_task
from devstack.aml.jobs import JOB_STATUSES, JobError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from werkzeug.wrappers import Response

_TASKS = {f"{AzureFunction.name}@1", f"{InvokeRestApi.name}@1"}


def start_task(call: Call) -> Response:
    """``{"task": …}``, the task as the books show it, and with no inputs ``headers`` beside it."""
    reader = _reader(call)
    name = _chosen(reader, "task", _TASKS, f"{AzureFunction.name}@1")
    inputs = _inputs(reader.take_mapping("inputs"), name) if reader.has("inputs") else None
    minutes = reader.take("timeoutInMinutes", int, call.declaration.agentless.timeout_minutes)
    early = _chosen(reader, "earlyEvents", set(get_args(EarlyEvents)), call.declaration.agentless.early_events)
    reader.finish("task, inputs, timeoutInMinutes, earlyEvents")
    if minutes < 1:
        reader.trouble("timeoutInMinutes", f"must be 1 or more, not {minutes}")
    _refuse_problems(reader)
    try:
        started = start_wait_task(
            call.state, call.root, inputs, timeout_minutes=minutes, early_events=cast("EarlyEvents", early)
        )
    except TaskInputError as exc:
        raise invalid_argument(str(exc)) from exc
    document: dict[str, object] = {"task": started.record.document()}
    if inputs is None:
        document["headers"] = started.headers
    return json_answer(document, 201)


def get_task(call: Call, task_id: UUID) -> Response:
    try:
        task = call.books.task_hub.task(str(task_id))
    except LookupError as exc:
        raise _no_task(task_id) from exc
    return json_answer(call.books.task_hub.masker.document(task.document()))


def time_task_out(call: Call, task_id: UUID) -> Response:
    """``{"timedOut": true}`` lets the task's time pass; one that has ended stays as it is: 409."""
    if call.json_object() != {"timedOut": True}:
        raise invalid_argument('The body must be {"timedOut": true}.')
    try:
        task = call.books.task_hub.time_out(str(task_id))
    except LookupError as exc:
        raise _no_task(task_id) from exc
    if task.ended_by != "timeout":
        raise ApiError(409, "Devstack", "TaskEndedException", f"Task {task_id} has ended already: {task.result}.")
    return json_answer(call.books.task_hub.masker.document(task.document()))


def end_plan(call: Call, plan_id: UUID) -> Response:
    """``{"result": "canceled"}``, "succeeded" or "failed"; ``status`` 404 or 410 is what clients are answered then."""
    reader = _reader(call)
    result = _chosen(reader, "result", set(get_args(PlanResult)))
    status = reader.take("status", int, call.declaration.agentless.ended_plan_status)
    reader.finish("result, status")
    if status not in {404, 410}:
        reader.trouble("status", f"must be 404 or 410, not {status}")
    _refuse_problems(reader)
    try:
        plan = call.books.task_hub.end_plan(str(plan_id), cast("PlanResult", result), status)
    except LookupError as exc:
        raise plan_not_found(str(plan_id)) from exc
    return json_answer({"planId": plan.id, "result": plan.result, "status": plan.ended_status})


def expire_token(call: Call, plan_id: UUID) -> Response:
    """Ends the life of a plan's job token."""
    try:
        call.books.task_hub.expire_token(str(plan_id))
    except LookupError as exc:
        raise plan_not_found(str(plan_id)) from exc
    return json_answer({"planId": str(plan_id), "token": "expired"})


def set_job(call: Call) -> Response:
    """``{"workspace": "/subscriptions/…/workspaces/…", "name": …, "status": …}``: an Azure ML job, new or changed."""
    reader = _reader(call)
    workspace, name = reader.take("workspace", str), reader.take("name", str)
    status = _chosen(reader, "status", set(JOB_STATUSES))
    reader.finish("workspace, name, status")
    _refuse_problems(reader)
    try:
        job = call.books.jobs.set(workspace, name, status)
    except JobError as exc:
        raise invalid_argument(str(exc)) from exc
    return json_answer(job.book_entry())


def _reader(call: Call) -> MappingReader:
    return MappingReader(call.json_object(), "", Problems("the body"))


def _refuse_problems(reader: MappingReader) -> None:
    if reader.problems.lines:
        raise invalid_argument("\n".join(reader.problems.lines))


def _chosen(reader: MappingReader, key: str, values: set[str], default: str | None = None) -> str:
    value = reader.take(key, str) if default is None else reader.take(key, str, default)
    if value not in values:
        reader.trouble(key, f"must be one of {', '.join(sorted(values))}, not {value!r}")
    return value


def _inputs(reader: MappingReader, task: str) -> TaskInputs:
    body = reader.take_any("body")
    headers = cast("Mapping[str, object]", reader.take("headers", dict, dict(DEFAULT_HEADERS)))
    texts = {name: value for name, value in headers.items() if isinstance(value, str)}
    if len(texts) < len(headers):
        reader.trouble("headers", "must be a mapping of texts")
    if task == f"{AzureFunction.name}@1":
        inputs: TaskInputs = AzureFunction(
            function=reader.take("function", str),
            key=reader.take("key", str, ""),
            query_parameters=reader.take("queryParameters", str, ""),
            body="" if body is None else body,
            headers=texts,
        )
        reader.finish("function, key, queryParameters, body, headers")
        return inputs
    connection = reader.take_mapping("serviceConnection")
    inputs = InvokeRestApi(
        service_url=connection.take("url", str),
        authorization=connection.take("authorization", str, ""),
        url_suffix=reader.take("urlSuffix", str, ""),
        body="" if body is None else body,
        headers=texts,
    )
    connection.finish("url, authorization")
    reader.finish("serviceConnection, urlSuffix, body, headers")
    return inputs


def _no_task(task_id: UUID) -> ApiError:
    message = f"There is no task instance {task_id}; POST /_emulator/tasks starts one."
    return ApiError(404, "Devstack", "TaskNotFoundException", message)
