"""The records of agentless tasks: plans, tasks, events and logs.

A plan is a pipeline run in Azure DevOps' orchestration. The *hub* of a pipeline is "build". In the emulator, each plan
has one job (``pool: server``) with one task. All records are immutable snapshots and contain no tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

TaskResult = Literal["succeeded", "succeededWithIssues", "failed", "canceled", "skipped", "abandoned"]
"""All results of a task. Source: Azure DevOps' Task API (7.1), ``TaskResult``."""

PlanResult = Literal["succeeded", "failed", "canceled"]
TaskState = Literal["calling", "waiting", "completed"]
"""calling: the task's own request is not yet answered. waiting: the answer was 2xx, and the task waits for
TaskCompleted."""

EarlyEvents = Literal["taken", "dropped"]
"""What happens to an event that arrives before the task's own request is answered."""

Effect = Literal["completed", "noted", "dropped", "late"]
"""The effect of an event. completed: it ended the task. noted: it was only recorded. dropped: it was early and ignored.
late: the task had already ended."""

EndedBy = Literal["event", "call", "timeout", "plan"]
"""What ended a task: TaskCompleted, the failure of its own request, its timeout, or the end of its plan."""


def _text(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None


@dataclass(frozen=True)
class EventRecord:
    """An accepted event. ``credential`` is the kind of credential: "job token", "PAT" or "token"."""

    name: str
    result: TaskResult | None
    credential: str
    effect: Effect
    received: datetime

    def document(self) -> dict[str, object]:
        return {
            "name": self.name,
            "result": self.result,
            "credential": self.credential,
            "effect": self.effect,
            "time": timestamp(self.received),
        }


@dataclass(frozen=True)
class LogRecord:
    """A log of a plan. ``content`` is everything that was appended to it."""

    id: int
    path: str
    created: datetime
    changed: datetime
    content: bytes = b""

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.content.decode("utf-8", errors="replace").splitlines())

    def document(self) -> dict[str, object]:
        """Return the log in the service's form, ``TaskLog``."""
        return {
            "path": self.path,
            "lineCount": len(self.lines),
            "createdOn": timestamp(self.created),
            "lastChangedOn": timestamp(self.changed),
            "id": self.id,
            "location": None,
        }


@dataclass(frozen=True)
class PlanRecord:
    """A plan. ``records`` are the changes that clients have made to its timeline, by record ID."""

    id: str
    job_id: str
    task_id: str
    started: datetime
    token_expires: datetime
    result: PlanResult | None = None
    ended_status: int = 404
    logs: tuple[LogRecord, ...] = ()
    records: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def timeline_id(self) -> str:
        """The ID of the plan's first timeline, which is the plan's ID. Source: examples of Azure DevOps' Task API."""
        return self.id

    def log(self, log_id: int) -> LogRecord | None:
        return next((log for log in self.logs if log.id == log_id), None)


@dataclass(frozen=True)
class TaskRecord:
    """A snapshot of an agentless task.

    ``log_lines`` are the lines that the task writes about its own request and the answer, then those of the log that a
    client has added to its timeline record. ``feed_lines`` are the console's lines.
    """

    id: str
    name: str
    plan_id: str
    job_id: str
    started: datetime
    deadline: datetime
    early_events: EarlyEvents
    state: TaskState
    result: TaskResult | None = None
    ended_by: EndedBy | None = None
    finished: datetime | None = None
    events: tuple[EventRecord, ...] = ()
    log_lines: tuple[str, ...] = ()
    feed_lines: tuple[str, ...] = ()

    @property
    def completions(self) -> int:
        """The number of accepted TaskCompleted events, with or without an effect."""
        return sum(event.name == "TaskCompleted" for event in self.events)

    def document(self) -> dict[str, object]:
        """Return the task as ``GET /_emulator/books`` shows it."""
        return {
            "taskInstanceId": self.id,
            "name": self.name,
            "planId": self.plan_id,
            "jobId": self.job_id,
            "timelineId": self.plan_id,
            "state": self.state,
            "result": self.result,
            "endedBy": self.ended_by,
            "completions": self.completions,
            "events": [event.document() for event in self.events],
            "logLines": list(self.log_lines),
            "feedLines": list(self.feed_lines),
            "startTime": timestamp(self.started),
            "deadline": timestamp(self.deadline),
            "finishTime": _text(self.finished),
        }
