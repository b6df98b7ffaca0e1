"""The part of the Task API that a client of an agentless task uses: events, logs, timeline records, console lines.

All addresses are below ``/{organization}/{projectId}/_apis/distributedtask/hubs/{hub}/plans/{planId}``. A request must
have the job token of its plan, as a bearer token or as the password of Basic credentials with an empty user name, or
one of the emulator's other credentials. Other requests are answered with 401, never with a sign-in page. Bodies must
match the documented Task API (see schemas.json), which reveals mistakes of clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.wrappers import Response

from devstack.ado.access import CredentialKind, Credentials, job_token
from devstack.ado.call import Call, collection, json_answer
from devstack.ado.errors import (
    content_type_not_supported,
    invalid_argument,
    plan_not_found,
    project_not_found,
    record_not_found,
    unauthorized,
)
from devstack.ado.tasks.answers import timeline_records
from devstack.ado.tasks.hub import HUB_NAME, TaskEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from devstack.ado.tasks.hub import TaskHub
    from devstack.ado.tasks.records import PlanRecord


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the job of a plan, or the holder of another credential of the emulator."""

    kind: CredentialKind | Literal["job token"]
    plan_id: str | None = None


def identify(call: Call, credentials: Credentials) -> Caller:
    """Return the sender of a request.

    :raises ApiError: 401, the request has no valid credential, or its job token has expired.
    """
    authorization = call.request.headers.get("Authorization", "")
    plan_id = call.books.task_hub.plan_of_token(job_token(authorization))
    if plan_id is not None:
        return Caller("job token", plan_id)
    kind = credentials.accept(authorization)
    if kind is None:
        raise unauthorized(call.request.host_url)
    return Caller(kind)


@dataclass(frozen=True)
class PlanCall:
    """An authorized request for a plan that has not ended."""

    call: Call
    caller: Caller
    plan: PlanRecord

    @property
    def hub(self) -> TaskHub:
        return self.call.books.task_hub


def open_plan(call: Call, caller: Caller, scope: str, hub: str, plan_id: UUID) -> PlanCall:
    """Check that a request may access a plan.

    :raises ApiError: 401 if the job token belongs to another plan, 404 if project, hub or plan do not match.
    """
    if caller.plan_id not in {None, str(plan_id)}:
        raise unauthorized(call.request.host_url)
    if scope != call.declaration.project_id:
        # This API accepts only the project's GUID, not its name.
        raise project_not_found(call.declaration.organization, scope)
    if hub != HUB_NAME:
        raise plan_not_found(str(plan_id))
    call.check_version()
    return PlanCall(call, caller, call.books.task_hub.live_plan(str(plan_id)))


def post_event(request: PlanCall) -> Response:
    body = request.call.body("task_event")
    event = TaskEvent(body["name"], body["jobId"].lower(), body["taskId"].lower(), body.get("result"))
    request.hub.post_event(request.plan.id, event, request.caller.kind)
    return Response(status=204)


def create_log(request: PlanCall) -> Response:
    log = request.hub.create_log(request.plan.id, request.call.body("log")["path"])
    return json_answer(log.document())


def append_log(request: PlanCall, log_id: int) -> Response:
    """Append bytes to a log. A request may end in the middle of a line."""
    http = request.call.request
    if http.mimetype != "application/octet-stream":
        raise content_type_not_supported(http.method, http.mimetype, "application/octet-stream")
    return json_answer(request.hub.append_log(request.plan.id, log_id, http.get_data()).document())


def get_records(request: PlanCall, timeline_id: UUID) -> Response:
    _check_timeline(request.plan, timeline_id)
    return collection(_records(request, request.plan))


def update_records(request: PlanCall, timeline_id: UUID) -> Response:
    """Change or add records, and return those in the request."""
    _check_timeline(request.plan, timeline_id)
    changes = _changes(request.call.body("timeline_records"), [log.id for log in request.plan.logs])
    plan = request.hub.update_records(request.plan.id, changes)
    return collection([record for record in _records(request, plan) if record["id"] in changes])


def append_feed(request: PlanCall, timeline_id: UUID, record_id: UUID) -> Response:
    _check_timeline(request.plan, timeline_id)
    request.hub.append_feed(request.plan.id, str(record_id), _values(request.call.body("feed")))
    return Response(status=204)


def _values(body: Mapping[str, Any]) -> list[Any]:
    """Return the values of a collection, and check its ``count`` if there is one."""
    values: list[Any] = body["value"]
    if body.get("count") not in {None, len(values)}:
        raise invalid_argument(f"count must be the number of values, which is {len(values)}.")
    return values


def _changes(body: Mapping[str, Any], log_ids: Collection[int]) -> dict[str, dict[str, object]]:
    """Return the changes by record ID. A field that is null stays unchanged.

    :param log_ids: the IDs of the plan's logs. In a record, the log ID 0 means no log.
    """
    changes: dict[str, dict[str, object]] = {}
    for record in _values(body):
        change = {name: value for name, value in record.items() if value is not None}
        change["id"] = record_id = record["id"].lower()
        log_id = change.pop("log", {"id": 0})["id"]
        if log_id not in {0, *log_ids}:
            raise invalid_argument('The log of a timeline record must be an existing log: {"id": …}.')
        if log_id:
            change["log"] = {"id": log_id}
        changes[record_id] = {**changes.get(record_id, {}), **change}
    return changes


def _check_timeline(plan: PlanRecord, timeline_id: UUID) -> None:
    if str(timeline_id) != plan.timeline_id:
        raise record_not_found(str(timeline_id), plan.id, "timeline")


def _records(request: PlanCall, plan: PlanRecord) -> list[dict[str, object]]:
    return timeline_records(request.call.root, plan, request.hub.task(plan.task_id))
