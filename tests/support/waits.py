"""Builds tasks, requests and bridges for tests."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet

from shared.clock import Clock
from shared.credentials import Secret
from shared.errors import AzureDevOpsError, JournalUnavailable, RequestRefused
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Entry, Store
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest
from shared.waits.task_client import Access
from shared.waits.tokens import TokenSeal
from shared.waits.waits import Waits
from tests.support.builders import WORKSPACE
from tests.support.canaries import secret
from tests.support.fakes import HANGS, LOST, Reports, check_time, hang

ORGANIZATION = "https://dev.azure.com/contoso"
PLAN_URLS = PlanUrls(ORGANIZATION, [], in_azure=True)
KEY = Fernet.generate_key().decode()
TOKEN = secret("task-token")
EVENT = Entry("event-1", "Microsoft.MachineLearningServices.RunCompleted", "subject", "{}")


def a_task(**changes: str) -> Task:
    """A task of a plan of its own."""
    ids = {name: str(uuid.uuid4()) for name in ("project_id", "plan_id", "job_id", "timeline_id", "task_instance_id")}
    return Task(**{"plan_url": ORGANIZATION, "hub_name": "build"} | ids | changes)


def a_request(task: Task | None = None, run_id: str = "run-1", workspace: str | None = None) -> WaitRequest:
    return WaitRequest(task or a_task(), Secret(TOKEN), run_id, workspace)


def the_end(run_id: str = "run-1", status: str = "Completed", workspace: str = WORKSPACE) -> RunEnd:
    return RunEnd(workspace, run_id, status)


def default_headers(task: Task, token: str = TOKEN) -> dict[str, str]:
    """The headers that AzureFunction and InvokeRESTAPI send unless somebody changes them."""
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


class FakeTasks:
    """Azure DevOps' tasks, in memory: what was said to each, and which are over; test_tasks.py holds it to the client.

    A call that begins too late for its deadline fails the test. ``plan`` says what happens to the next calls of a
    kind, one each: an error is raised (``LOST`` from ``complete`` after the task ended); ``HANGS`` does nothing and
    answers nothing until the deadline; a callable is called once it is done, while the process may sleep.
    """

    def __init__(self, clock: Clock) -> None:
        self.results: dict[str, list[str]] = {}
        self.lines: dict[str, list[str]] = {}
        self.logs: dict[str, list[str]] = {}
        self.accesses: list[Access] = []
        self.loses_requests = False
        """Whether messages are lost without anybody noticing."""
        self._clock = clock
        self._planned: dict[str, list[AzureDevOpsError | Callable[[], object]]] = {}

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        with self._call("complete", deadline):
            self.accesses.append(access)
            if not self.loses_requests:
                self.results.setdefault(task.task_instance_id, []).append(result)

    def has_ended(self, task: Task, access: Access, deadline: datetime) -> bool:
        with self._call("has_ended", deadline):
            return task.task_instance_id in self.results

    def show_lines(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        with self._call("show_lines", deadline):
            self.lines.setdefault(task.task_instance_id, []).extend(lines)

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        with self._call("write_log", deadline):
            self.logs.setdefault(task.task_instance_id, []).extend(lines)

    def plan(self, call: str, *planned: AzureDevOpsError | Callable[[], object]) -> None:
        self._planned.setdefault(call, []).extend(planned)

    @contextmanager
    def _call(self, name: str, deadline: datetime) -> Iterator[None]:
        check_time(name, self._clock, deadline)
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
    """Waits over a store, with tasks that can be planned to fail."""

    def __init__(self, store: Store, clock: Clock, **options: Any) -> None:
        self.store = store
        self.clock = clock
        self.tasks = FakeTasks(clock)
        self.reports = Reports()
        self.journal = Journal(store, clock=clock, **options)
        self.waits = Waits(
            self.journal,
            self.tasks,
            TokenSeal(lambda: [Secret(KEY)]),
            PLAN_URLS,
            report=self.reports,
            clock=clock,
        )

    def in_seconds(self, seconds: float = 25) -> datetime:
        """A deadline."""
        return self.clock() + timedelta(seconds=seconds)


class BrokenStore:
    """A store that does not answer."""

    def __getattr__(self, name: str) -> object:
        def fail(*arguments: object, **options: object) -> None:
            raise JournalUnavailable(f"the journal does not answer ({name})")

        return fail
