"""The records of runs: a validated request, and a queued run with everything that answers show of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from devstack.ado.access import User
    from devstack.ado.runs.behavior import ParameterForm

RunState = Literal["inProgress", "canceling", "completed"]
RunResult = Literal["succeeded", "failed", "canceled"]
RunReason = Literal["manual", "individualCI", "schedule", "pullRequest", "resourceTrigger"]

ONLY_STAGE = "__default"
"""The name of the stage of a pipeline that declares none."""


@dataclass(frozen=True)
class Variable:
    """A variable of a run. The value of a secret variable is not stored."""

    value: str | None
    is_secret: bool = False

    def document(self) -> dict[str, object]:
        """Return ``{"value": …}``, or ``{"isSecret": true}`` without the value."""
        return {"isSecret": True} if self.is_secret else {"value": self.value}


@dataclass(frozen=True, kw_only=True)
class ValidatedRun:
    """A run request that passed all checks. The template parameters include the pipeline's defaults.

    ``revision`` is that of the pipeline, ``branch`` a full ref, ``version`` a commit ID. Runs of a paused pipeline
    never start.
    """

    pipeline_id: int
    pipeline_name: str
    revision: int
    is_paused: bool
    branch: str
    version: str
    template_parameters: Mapping[str, str]
    variables: Mapping[str, Variable]
    stages_to_skip: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunRecord(ValidatedRun):
    """A snapshot of a queued run.

    ``plan_id`` is the ID of its orchestration, ``listed_from`` the time from which lists of builds contain it,
    ``starts`` the time at which an agent takes it, or None. ``parameter_form`` is how builds show its template
    parameters. ``build`` has fields of the build that are shown instead of the real ones. ``cancels`` is the time at
    which a run ends that is being canceled.
    """

    id: int
    name: str
    plan_id: str
    requester: User
    created: datetime
    listed_from: datetime
    starts: datetime | None
    parameter_form: ParameterForm = "sent"
    build: Mapping[str, object] = field(default_factory=dict)
    reason: RunReason = "manual"
    state: RunState = "inProgress"
    result: RunResult | None = None
    finished: datetime | None = None
    cancels: datetime | None = None
    tags: tuple[str, ...] = ()

    def ended(self, result: RunResult, at: datetime) -> RunRecord:
        """Return the run with its end. A run that has already ended keeps its first result."""
        if self.state == "completed":
            return self
        return replace(self, state="completed", result=result, finished=at, starts=min(self.starts or at, at))

    def started(self, now: datetime) -> datetime | None:
        """Return the time at which the run has started, or None if it is still waiting."""
        return self.starts if self.starts and self.starts <= (self.finished or now) else None

    def document(self) -> dict[str, object]:
        """Return the run as ``GET /_emulator/books`` shows it."""
        return {
            "id": self.id,
            "pipelineId": self.pipeline_id,
            "pipelineName": self.pipeline_name,
            "name": self.name,
            "planId": self.plan_id,
            "requester": {"id": self.requester.id, "name": self.requester.name},
            "reason": self.reason,
            "branch": self.branch,
            "templateParameters": dict(self.template_parameters),
            "variables": {name: variable.document() for name, variable in self.variables.items()},
            "stagesToSkip": list(self.stages_to_skip),
            "createdDate": timestamp(self.created),
            "finishedDate": timestamp(self.finished) if self.finished else None,
            "state": self.state,
            "result": self.result,
            "tags": list(self.tags),
        }
