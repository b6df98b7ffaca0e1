"""Starts agentless tasks: creates the plan and sends the task's request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devstack.ado.tasks.hub import HUB_NAME
from devstack.ado.tasks.inputs import DEFAULT_HEADERS, AzureFunction, TaskInputs, expand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devstack.ado.state import State
    from devstack.ado.tasks.records import EarlyEvents, TaskRecord
    from devstack.ado.tasks.sender import TaskAnswer


@dataclass(frozen=True)
class StartedTask:
    """A started task and the predefined variables of its job, including ``system.AccessToken``."""

    record: TaskRecord
    variables: Mapping[str, str] = field(repr=False)

    @property
    def token(self) -> str:
        """The job token."""
        return self.variables["system.AccessToken"]

    @property
    def headers(self) -> dict[str, str]:
        """The task's coordinates as the headers that both tasks send by default."""
        return {name: expand(value, self.variables) for name, value in DEFAULT_HEADERS.items()}


def start_wait_task(
    state: State,
    collection_url: str,
    inputs: TaskInputs | None,
    *,
    timeout_minutes: float | None,
    early_events: EarlyEvents | None,
) -> StartedTask:
    """Start a task. See ``Emulator.start_wait_task``."""
    if inputs is not None:
        inputs.request({})  # checks the inputs before the plan is created
    hub = state.books.task_hub
    for secret in inputs.secrets if inputs else ():
        hub.masker.add(secret)
    record, token = hub.start(
        AzureFunction.name if inputs is None else inputs.name,
        calls=inputs is not None,
        timeout_minutes=timeout_minutes,
        early_events=early_events,
    )
    started = StartedTask(record, _variables(state, collection_url, record, token))
    if inputs is not None:
        _send(state, inputs, started)
    return started


def _variables(state: State, collection_url: str, record: TaskRecord, token: str) -> dict[str, str]:
    return {
        "system.CollectionUri": f"{collection_url.rstrip('/')}/",
        "system.TeamProjectId": state.declaration.project_id,
        "system.TeamProject": state.declaration.project,
        "system.HostType": HUB_NAME,
        "system.PlanId": record.plan_id,
        "system.JobId": record.job_id,
        "system.TimelineId": record.plan_id,
        "system.TaskInstanceId": record.id,
        "system.AccessToken": token,
    }


def _send(state: State, inputs: TaskInputs, started: StartedTask) -> None:
    """Send the task's request once. Any answer other than 2xx fails the task."""
    request = inputs.request(started.variables)

    def answered(answer: TaskAnswer) -> None:
        state.books.task_hub.answered(started.record.id, answer.log_lines(request), accepted=answer.accepted)

    state.sender.start(request, state.declaration.agentless.call_timeout_seconds, answered)
