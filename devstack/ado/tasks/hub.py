"""The task hub: plans with agentless tasks, and everything that may happen to them.

What Azure DevOps does not say of itself is decided here, and can be decided otherwise where that matters:

- An event that comes before the task's own request was answered is taken (``early_events``: or dropped, unseen).
- A task keeps its first result. A later TaskCompleted is accepted, has no effect, and is in the books.
- A plan goes on after its task has ended, as a pipeline does with its next stage. Once the plan itself has ended it is
  not found any more (``ended_status``: 404, or 410).
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
    """The body of an event; ``result`` is there for TaskCompleted alone."""

    name: str
    job_id: str
    task_id: str
    result: TaskResult | None


class TaskHub:
    """The plans and tasks of one emulator, safe for any thread. Unknown ids are refused as the service would.

    Time-outs need no timer: whoever looks at a task finds it timed out if its time has passed.
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
        """Every task, in the order in which they were started."""
        with self._lock:
            self._end_overdue()
            return tuple(self._snapshot(task) for task in self._tasks.values())

    def task(self, task_id: str) -> TaskRecord:
        """:raises ApiError: 404, there is no such task."""
        with self._lock:
            self._end_overdue()
            return self._snapshot(self._known_task(task_id))

    def start(
        self, name: str, *, calls: bool, timeout_minutes: float | None = None, early_events: EarlyEvents | None = None
    ) -> tuple[TaskRecord, str]:
        """Starts a plan with one task; the answer is the task and the job token of its plan.

        :param calls: whether the task sends a request of its own, whose answer is to be told with ``answered``.
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
        """The plan that a job token is for; None for one that is unknown or has expired."""
        with self._lock:
            plan_id = self._tokens.get(token)
            return plan_id if plan_id and self._clock() < self._plans[plan_id].token_expires else None

    def live_plan(self, plan_id: str) -> PlanRecord:
        """A plan that has not ended.

        :raises ApiError: 404 for an unknown one, the plan's ``ended_status`` for one that has ended.
        """
        with self._lock:
            self._end_overdue()
            plan = self._plans.get(plan_id)
            if plan is None or plan.result is not None:
                raise plan_not_found(plan_id, plan.ended_status if plan else 404)
            return plan

    def answered(self, task_id: str, lines: Iterable[str], *, accepted: bool) -> None:
        """The task's own request was answered: with a 2xx it waits on, else it has failed."""
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
        """Takes an event. :raises ApiError: the plan, its job or its task is not known by these ids."""
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
        """:raises ApiError: 404, there is no such log."""
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
        """Changes or adds records of the plan's timeline. It says nothing of the task: only an event ends that."""
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
        """Ends a plan, and its task with it where that has not ended; a plan that has ended keeps its first result.

        :raises ApiError: 404, there is no such plan.
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
        """:raises ApiError: 404, there is no such plan."""
        with self._lock:
            plan = self._known_plan(plan_id)
            self._plans[plan_id] = replace(plan, token_expires=self._clock())

    def time_out(self, task_id: str) -> TaskRecord:
        """Lets the task's time pass; one that has ended already stays as it is.

        :raises ApiError: 404, there is no such task.
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
        """The task with the lines of the log that its timeline record names."""
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
