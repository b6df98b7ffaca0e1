"""Builds tasks, requests and bridges for tests."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet

from shared.clock import Clock
from shared.credentials import Secret
from shared.errors import AnswerLost, AzureDevOpsError, JournalUnavailable, RequestRefused
from shared.events.event import RunEnd
from shared.journal.journal import Journal
from shared.journal.records import Entry, Store
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, WaitRequest
from shared.waits.tasks import Access
from shared.waits.tokens import TokenSeal
from shared.waits.waits import Waits
from tests.support.building import WORKSPACE
from tests.support.canaries import secret
from tests.support.fakes import Reports

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
    """Azure DevOps' tasks, in memory: what was said to each, and which are over.

    ``errors`` are raised by the next calls of a kind, one each; AnswerLost from ``complete`` comes after the task ended
    unless it is ``LOST_UNHEARD``.
    """

    def __init__(self) -> None:
        self.results: dict[str, list[str]] = {}
        self.lines: dict[str, list[str]] = {}
        self.logs: dict[str, list[str]] = {}
        self.accesses: list[Access] = []
        self.errors: dict[str, list[AzureDevOpsError]] = {}
        self.deaf = False
        """Whether messages are lost without anybody noticing."""

    def complete(self, task: Task, access: Access, result: str, deadline: datetime) -> None:
        error = self._error("complete")
        if error is not None and (not isinstance(error, AnswerLost) or error is LOST_UNHEARD):
            raise error
        self.accesses.append(access)
        if not self.deaf:
            self.results.setdefault(task.task_instance_id, []).append(result)
        if error is not None:
            raise error

    def is_over(self, task: Task, access: Access, deadline: datetime) -> bool:
        self._raise("is_over")
        return task.task_instance_id in self.results

    def say(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        self._raise("say")
        self.lines.setdefault(task.task_instance_id, []).extend(lines)

    def write_log(self, task: Task, access: Access, lines: Sequence[str], deadline: datetime) -> None:
        self._raise("write_log")
        self.logs.setdefault(task.task_instance_id, []).extend(lines)

    def fail(self, call: str, *errors: AzureDevOpsError) -> None:
        self.errors.setdefault(call, []).extend(errors)

    def _error(self, call: str) -> AzureDevOpsError | None:
        planned = self.errors.get(call)
        return planned.pop(0) if planned else None

    def _raise(self, call: str) -> None:
        if (error := self._error(call)) is not None:
            raise error


LOST = AnswerLost("the answer was lost: ReadTimeout")
"""Planned: the task has ended, and nobody hears of it."""

LOST_UNHEARD = AnswerLost("the answer was lost: reset")
"""Planned: the task has not ended, and nobody hears of it."""

GONE = RequestRefused("HTTP 404: the plan does not exist", not_found=True)


class Scene:
    """Waits over a store, with tasks that can be planned to fail."""

    def __init__(self, store: Store, clock: Clock, **options: Any) -> None:
        self.store = store
        self.clock = clock
        self.tasks = FakeTasks()
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


def in_seconds(scene: Scene, seconds: float = 25) -> datetime:
    return scene.clock() + timedelta(seconds=seconds)


class BrokenStore:
    """A store that does not answer."""

    def __getattr__(self, name: str) -> object:
        def fail(*arguments: object, **options: object) -> None:
            raise JournalUnavailable(f"the journal does not answer ({name})")

        return fail
