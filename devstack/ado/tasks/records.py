"""What is kept of agentless tasks: the plan that one belongs to, its events, its logs.

A plan is one pipeline run as Azure DevOps' orchestration sees it; its *hub* is "build" for a pipeline. Here each plan
has one job (``pool: server``) with one task. All records are immutable snapshots, and no token is in any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from devstack.ado.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

TaskResult = Literal["succeeded", "succeededWithIssues", "failed", "canceled", "skipped", "abandoned"]
"""All that a task can end with. Source: Azure DevOps' Task API (7.1), ``TaskResult``."""

PlanResult = Literal["succeeded", "failed", "canceled"]
TaskState = Literal["calling", "waiting", "completed"]
"""calling: the task's own request has no answer yet. waiting: it had a 2xx, and TaskCompleted is to come."""

EarlyEvents = Literal["taken", "dropped"]
"""What becomes of an event that comes before the task's own request was answered."""

Effect = Literal["completed", "noted", "dropped", "late"]
"""What an event did: it ended the task, it was only written down, it was dropped as an early one, or the task had
ended already."""

EndedBy = Literal["event", "call", "timeout", "plan"]
"""What ended a task: TaskCompleted, its own request that failed, its time-out, or the end of its plan."""


def _text(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment else None


@dataclass(frozen=True)
class EventRecord:
    """An event that was accepted; ``credential`` says with what ("job token", "PAT" or "token")."""

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
    """A log of a plan: ``content`` is what was appended so far."""

    id: int
    path: str
    created: datetime
    changed: datetime
    content: bytes = b""

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.content.decode("utf-8", errors="replace").splitlines())

    def document(self) -> dict[str, object]:
        """The TaskLog that the service answers with."""
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
    """A plan. ``records`` are what clients have written into its timeline, by the record's id."""

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
        """A plan's first timeline has the plan's own id. Source: the examples of Azure DevOps' Task API."""
        return self.id

    def log(self, log_id: int) -> LogRecord | None:
        return next((log for log in self.logs if log.id == log_id), None)


@dataclass(frozen=True)
class TaskRecord:
    """An agentless task, as it was at one moment.

    ``log_lines`` are those that the task itself writes (its request and the answer to it), then those of the logs
    that a client has made for its timeline record. ``feed_lines`` are what the console showed.
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
        """How many TaskCompleted events came, whatever they did: 1 for a client that completes exactly once."""
        return sum(event.name == "TaskCompleted" for event in self.events)

    def document(self) -> dict[str, object]:
        """The task as ``GET /_emulator/books`` shows it."""
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
