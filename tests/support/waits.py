"""Builders of tasks, requests and waits for tests."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet

from shared.clock import Clock
from shared.credentials import Secret
from shared.errors import AnswerLost, AzureDevOpsError, JournalUnavailable, RequestRefused
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Entry, JournalKey, Store
from shared.telemetry import Result
from shared.waits.fairness.quotas import Quotas
from shared.waits.fairness.sharing import Done, Item, Workers
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest
from shared.waits.task_client import Access
from shared.waits.tokens import TokenSeal
from shared.waits.waits import Waits
from shared.waits.workspaces import Workspaces
from tests.support.builders import WORKSPACE
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import HANGS, LOST, Reports, check_time, hang

ORGANIZATION = "https://dev.azure.com/contoso"
PLAN_URLS = PlanUrls(ORGANIZATION, [], in_azure=True)
KEY = Fernet.generate_key().decode()
TOKEN = secret("task-token")
EVENT = Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", "{}")


def a_task(**changes: str) -> Task:
    """Return a task in its own plan."""
    ids = {name: str(uuid.uuid4()) for name in ("project_id", "plan_id", "job_id", "timeline_id", "task_instance_id")}
    return Task(**{"plan_url": ORGANIZATION, "hub_name": "build"} | ids | changes)


def a_request(task: Task | None = None, run_id: str = "run-1", workspace: str | None = None) -> WaitRequest:
    return WaitRequest(task or a_task(), Secret(TOKEN), run_id, workspace)


def the_end(run_id: str = "run-1", status: str = "Completed", workspace: str = WORKSPACE) -> RunEnd:
    return RunEnd(workspace, run_id, status)


def default_headers(task: Task, token: str = TOKEN) -> dict[str, str]:
    """Return the default headers of the tasks AzureFunction and InvokeRESTAPI."""
    return {
        "Content-Type": "application/json",
        "PlanUrl": task.plan_url + "/",
        "ProjectId": task.project_id,
        "HubName": task.hub_name,
        "PlanId": task.plan_id,
        "JobId": task.job_id,
        "TimelineId": task.timeline_id,
        "TaskInstanceId": task.task_instance_id,
        "AuthToken": token,
    }


class Lanes(Workers):
    """Workers whose work takes time of the clock only: the one that is free first takes the next item."""

    def __init__(self, clock: ManualClock, count: int = 8) -> None:
        super().__init__(count)
        self._clock = clock

    def each(self, act: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
        free_at = [self._clock.now] * self.count
        for item in items:
            lane = free_at.index(min(free_at))
            self._clock.now = free_at[lane]
            yield act(item)
            free_at[lane] = self._clock.now
        self._clock.now = max(free_at)


class FakeTasks:
    """The tasks of Azure DevOps in memory: the messages sent to each, and the tasks that have ended.

    A call that starts too late for its deadline fails the test. ``plan`` sets the results of the next calls with a
    name. An error is raised instead of the call; ``LOST`` is raised after it. ``HANGS`` does nothing, and no answer
    comes until the deadline. A callable is called after the call; it may advance the clock past the deadline.
    """

    def __init__(self, clock: Clock) -> None:
        self.results: dict[str, list[str]] = {}
        self.lines: dict[str, list[str]] = {}
        self.logs: dict[str, list[str]] = {}
        self.accesses: list[Access] = []
        self.loses_completions = False
        """True if completions get lost although the call succeeds."""
        self.silent: set[str] = set()
        """The organizations that never answer, by their PlanUrl."""
        self.takes = 0.0
        """How many seconds each call takes."""
        self._clock = clock
        self._planned: dict[str, list[AzureDevOpsError | Callable[[], object]]] = {}

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        with self._call("complete", task, deadline):
            self.accesses.append(access)
            if not self.loses_completions:
                self.results.setdefault(task.task_instance_id, []).append(result)

    def has_ended(self, task: Task, access: Access, deadline: datetime) -> bool:
        with self._call("has_ended", task, deadline):
            return task.task_instance_id in self.results

    def show_lines(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        with self._call("show_lines", task, deadline):
            self.lines.setdefault(task.task_instance_id, []).extend(lines)

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        with self._call("write_log", task, deadline):
            self.logs.setdefault(task.task_instance_id, []).extend(lines)

    def plan(self, call: str, *planned: AzureDevOpsError | Callable[[], object]) -> None:
        self._planned.setdefault(call, []).extend(planned)

    @contextmanager
    def _call(self, name: str, task: Task, deadline: datetime) -> Iterator[None]:
        check_time(name, self._clock, deadline)
        if task.plan_url in self.silent:
            hang(self._clock, deadline)
            raise AnswerLost("no answer")
        if self.takes:
            assert isinstance(self._clock, ManualClock)
            self._clock.advance(self.takes)
        waiting = self._planned.get(name)
        planned = waiting.pop(0) if waiting else None
        if planned is HANGS:
            hang(self._clock, deadline)
        if isinstance(planned, AzureDevOpsError) and planned is not LOST:
            raise planned
        yield
        if planned is LOST:
            raise LOST
        if callable(planned):
            planned()


GONE = RequestRefused("HTTP 404: the plan does not exist", not_found=True)


class Scene:
    """Waits on a store, with tasks whose failures can be planned."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        workers: Workers | None = None,
        workspace_id: str | None = None,
        workspace_ids: Sequence[str] = (),
        per_organization: int = 2000,
        per_plan: int = 100,
        come_again: Callable[[JournalKey, Result], datetime | None] | None = None,
        **options: Any,
    ) -> None:
        self.store = store
        self.clock = clock
        self.tasks = FakeTasks(clock)
        self.reports = Reports()
        self.journal = Journal(store, clock=clock, **{"settle_seconds": 30, **options})
        self.workspaces = Workspaces(self.journal, workspace_id, workspace_ids)
        self.workers = workers or Workers()
        self.waits = Waits(
            self.journal,
            self.tasks,
            TokenSeal(lambda: [Secret(KEY)]),
            PLAN_URLS,
            self.workspaces,
            Quotas(self.journal, per_organization=per_organization, per_plan=per_plan, clock=clock),
            workers=self.workers,
            come_again=come_again,
            report=self.reports,
            clock=clock,
        )

    def in_seconds(self, seconds: float = 25) -> datetime:
        """Return a deadline in this number of seconds."""
        return self.clock() + timedelta(seconds=seconds)


class BrokenStore:
    """A store whose every call fails."""

    def __getattr__(self, name: str) -> object:
        def fail(*arguments: object, **options: object) -> None:
            raise JournalUnavailable(f"the journal does not answer ({name})")

        return fail
