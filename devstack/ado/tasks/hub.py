"""The task hub: plans with agentless tasks, and everything that may happen to them.

Azure DevOps does not document some of its behavior. The emulator behaves as follows, with alternatives where they
matter:

- An event that arrives before the task's own request is answered is accepted. With ``early_events`` set to "dropped",
  it is answered with success but ignored.
- A task keeps its first result. A later TaskCompleted is accepted and has no effect, but the books record it.
- A plan continues after its task has ended, as a pipeline continues with its next stage. After the plan has ended,
  requests for it are answered with 404, or with 410 (``ended_status``).
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from devstack.ado.access import new_token
from devstack.ado.errors import job_not_found, plan_not_found, record_not_found, task_not_found
from devstack.ado.masking import Masker
from devstack.ado.tasks.records import EventRecord, LogRecord, PlanRecord, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from devstack.ado.declaration import AgentlessDeclaration
    from devstack.ado.tasks.records import EarlyEvents, Effect, EndedBy, PlanResult, TaskResult

HUB_NAME = "build"


@dataclass(frozen=True)
class TaskEvent:
    """The body of an event. Only TaskCompleted has a ``result``."""

    name: str
    job_id: str
    task_id: str
    result: TaskResult | None


class TaskHub:
    """The plans and tasks of one emulator. Thread-safe. Unknown IDs are refused in the same way as in Azure DevOps.

    Timeouts need no timer, because each access first ends the tasks whose deadline has passed.
    """

    def __init__(self, agentless: AgentlessDeclaration, clock: Callable[[], datetime]) -> None:
        self.masker = Masker()
        self._agentless = agentless
        self._clock = clock
        self._lock = threading.RLock()
        self._plans: dict[str, PlanRecord] = {}
        self._tasks: dict[str, TaskRecord] = {}
        self._unfinished: set[str] = set()
        self._tokens: dict[str, str] = {}

    @property
    def tasks(self) -> tuple[TaskRecord, ...]:
        """Every task, in the order of their start."""
        with self._lock:
            self._end_overdue()
            return tuple(self._snapshot(task) for task in self._tasks.values())

    def task(self, task_id: str) -> TaskRecord:
        """Return a task.

        :raises ApiError: 404, the task does not exist.
        """
        with self._lock:
            self._end_overdue()
            return self._snapshot(self._known_task(task_id))

    def start(
        self, name: str, *, calls: bool, timeout_minutes: float | None = None, early_events: EarlyEvents | None = None
    ) -> tuple[TaskRecord, str]:
        """Start a plan with one task, and return the task and the job token of its plan.

        :param calls: whether the task sends its own request. Its answer must then be reported with ``answered``.
        """
        with self._lock:
            now = self._clock()
            minutes = self._agentless.timeout_minutes if timeout_minutes is None else timeout_minutes
            plan = PlanRecord(
                id=str(uuid.uuid4()),
                job_id=str(uuid.uuid4()),
                task_id=str(uuid.uuid4()),
                started=now,
                token_expires=now + timedelta(hours=self._agentless.token_hours),
                ended_status=self._agentless.ended_plan_status,
            )
            task = TaskRecord(
                id=plan.task_id,
                name=name,
                plan_id=plan.id,
                job_id=plan.job_id,
                started=now,
                deadline=now + timedelta(minutes=minutes),
                early_events=early_events or self._agentless.early_events,
                state="calling" if calls else "waiting",
            )
            token = new_token("job")
            self._plans[plan.id], self._tasks[task.id], self._tokens[token] = plan, task, plan.id
            self._unfinished.add(task.id)
            return task, token

    def plan_of_token(self, token: str) -> str | None:
        """Return the ID of the plan that a job token belongs to, or None if the token is unknown or expired."""
        with self._lock:
            plan_id = self._tokens.get(token)
            return plan_id if plan_id and self._clock() < self._plans[plan_id].token_expires else None

    def live_plan(self, plan_id: str) -> PlanRecord:
        """Return a plan that has not ended.

        :raises ApiError: 404 if the plan is unknown, or the plan's ``ended_status`` if it has ended.
        """
        with self._lock:
            self._end_overdue()
            plan = self._plans.get(plan_id)
            if plan is None or plan.result is not None:
                raise plan_not_found(plan_id, plan.ended_status if plan else 404)
            return plan

    def answered(self, task_id: str, lines: Iterable[str], *, accepted: bool) -> None:
        """Record the answer to a task's own request. After a 2xx, the task waits. Otherwise, it fails."""
        with self._lock:
            self._end_overdue()
            task = self._change(task_id, log_lines=self._masked(lines))
            if task.state == "completed":
                return
            if accepted:
                self._change(task_id, state="waiting")
            else:
                self._end(task_id, "failed", "call")

    def post_event(self, plan_id: str, event: TaskEvent, credential: str) -> None:
        """Apply an event to its task.

        :raises ApiError: the plan, its job or its task has another ID.
        """
        with self._lock:
            task = self._tasks[self.live_plan(plan_id).task_id]
            if event.job_id != task.job_id:
                raise job_not_found(event.job_id, plan_id)
            if event.task_id != task.id:
                raise record_not_found(event.task_id, plan_id, "task instance")
            effect = _effect(task, event)
            record = EventRecord(event.name, event.result, credential, effect, self._clock())
            self._change(task.id, events=(*task.events, record))
            if effect == "completed" and event.result is not None:
                self._end(task.id, event.result, "event")

    def create_log(self, plan_id: str, path: str) -> LogRecord:
        with self._lock:
            plan, now = self.live_plan(plan_id), self._clock()
            log = LogRecord(id=len(plan.logs) + 1, path=self.masker.text(path), created=now, changed=now)
            self._plans[plan.id] = replace(plan, logs=(*plan.logs, log))
            return log

    def append_log(self, plan_id: str, log_id: int, content: bytes) -> LogRecord:
        """Append bytes to a log.

        :raises ApiError: 404, the log does not exist.
        """
        with self._lock:
            plan = self.live_plan(plan_id)
            log = plan.log(log_id)
            if log is None:
                raise record_not_found(str(log_id), plan_id, "log")
            log = replace(log, content=log.content + content, changed=self._clock())
            logs = tuple(log if each.id == log_id else each for each in plan.logs)
            self._plans[plan.id] = replace(plan, logs=logs)
            return log

    def update_records(self, plan_id: str, changes: Mapping[str, Mapping[str, object]]) -> PlanRecord:
        """Change or add records of the plan's timeline. Unlike an event, this never ends the task."""
        with self._lock:
            plan = self.live_plan(plan_id)
            records = dict(plan.records)
            for record_id, change in changes.items():
                records[record_id] = {**records.get(record_id, {}), **change}
            plan = self._plans[plan.id] = replace(plan, records=records)
            return plan

    def append_feed(self, plan_id: str, record_id: str, lines: Iterable[str]) -> None:
        """Shows lines on the console. :raises ApiError: 404, the timeline has no such record."""
        with self._lock:
            plan = self.live_plan(plan_id)
            task = self._tasks[plan.task_id]
            if record_id not in {task.id, task.job_id, *plan.records}:
                raise record_not_found(record_id, plan_id)
            if record_id == task.id:
                self._change(task.id, feed_lines=(*task.feed_lines, *self._masked(lines)))

    def end_plan(self, plan_id: str, result: PlanResult, ended_status: int | None = None) -> PlanRecord:
        """End a plan and, if it has not ended, its task. A plan that has already ended keeps its first result.

        :raises ApiError: 404, the plan does not exist.
        """
        with self._lock:
            self._end_overdue()
            plan = self._known_plan(plan_id)
            if plan.result is None:
                status = plan.ended_status if ended_status is None else ended_status
                plan = self._plans[plan_id] = replace(plan, result=result, ended_status=status)
                self._end(plan.task_id, "canceled", "plan")
            return plan

    def expire_token(self, plan_id: str) -> None:
        """Let the job token of a plan expire.

        :raises ApiError: 404, the plan does not exist.
        """
        with self._lock:
            plan = self._known_plan(plan_id)
            self._plans[plan_id] = replace(plan, token_expires=self._clock())

    def time_out(self, task_id: str) -> TaskRecord:
        """Let a task time out. Do nothing if it has already ended.

        :raises ApiError: 404, the task does not exist.
        """
        with self._lock:
            self._known_task(task_id)
            self._end(task_id, "canceled", "timeout")
            return self.task(task_id)

    def _known_plan(self, plan_id: str) -> PlanRecord:
        if plan_id not in self._plans:
            raise plan_not_found(plan_id)
        return self._plans[plan_id]

    def _known_task(self, task_id: str) -> TaskRecord:
        if task_id not in self._tasks:
            raise task_not_found(task_id)
        return self._tasks[task_id]

    def _end_overdue(self) -> None:
        now = self._clock()
        for task_id in [task_id for task_id in self._unfinished if self._tasks[task_id].deadline <= now]:
            self._end(task_id, "canceled", "timeout")

    def _end(self, task_id: str, result: TaskResult, by: EndedBy) -> None:
        if task_id in self._unfinished:
            self._unfinished.remove(task_id)
            finished = min(self._clock(), self._tasks[task_id].deadline)
            self._change(task_id, state="completed", result=result, ended_by=by, finished=finished)

    def _change(self, task_id: str, **changes: object) -> TaskRecord:
        task = self._tasks[task_id] = replace(self._tasks[task_id], **changes)  # type: ignore[arg-type]
        return task

    def _masked(self, lines: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.masker.text(line) for line in lines)

    def _snapshot(self, task: TaskRecord) -> TaskRecord:
        """Return the task, with the lines of the log that its timeline record names."""
        plan = self._plans[task.plan_id]
        reference = plan.records.get(task.id, {}).get("log")
        log = plan.log(reference["id"]) if isinstance(reference, dict) else None
        return replace(task, log_lines=(*task.log_lines, *self._masked(log.lines))) if log else task


def _effect(task: TaskRecord, event: TaskEvent) -> Effect:
    if task.state == "completed":
        return "late"
    if task.state == "calling" and task.early_events == "dropped":
        return "dropped"
    return "completed" if event.name == "TaskCompleted" else "noted"
