"""Azure ML's own post-back over sockets: a task registers it with the job, and the job's end completes the task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from devstack.ado import EVENTS_PATH, AmlJobWait, Emulator, Fault, InvokeRestApi, Match, Served, serve
from devstack.ado.tasks.inputs import POST_BACK
from tests.contracts import validate
from tests.support.builders import WORKSPACE
from tests.support.canaries import leaks
from tests.support.polling import wait_until
from tests.support.services.emulator import DECLARATION, PAT, TOKEN, Ado

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devstack.ado import TaskRecord

JOB = f"{WORKSPACE}/jobs/brave_fig"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TASKS = ["InvokeRESTAPI@1", "AzureMLJobWaitTask@1"]


@dataclass
class Stage:
    served: Served

    @property
    def emulator(self) -> Emulator:
        return self.served.emulator

    def start(self, task: str = TASKS[0]) -> str:
        """Start a task that registers the post-back, and return its ID when the registration is answered."""
        inputs: InvokeRestApi | AmlJobWait = AmlJobWait(
            service_url=self.served.url, job=JOB, authorization=BEARER["Authorization"]
        )
        if task == "InvokeRESTAPI@1":
            inputs = InvokeRestApi(
                service_url=f"{self.served.url}/",
                url_suffix=f"{JOB[1:]}?api-version=2024-04-01",
                authorization=BEARER["Authorization"],
                method="PATCH",
                body=json.dumps(POST_BACK),
                headers={"Content-Type": "application/json"},
            )
        task_id = self.emulator.start_wait_task(self.served.organization_url, inputs).record.id
        wait_until(lambda: self.task(task_id).state != "calling")
        return task_id

    def task(self, task_id: str) -> TaskRecord:
        return self.emulator.books.task_hub.task(task_id)

    def job_is(self, status: str) -> None:
        self.emulator.books.jobs.set(WORKSPACE, "brave_fig", status)

    @property
    def posts(self) -> list[object]:
        """The status of the answer to each post-back."""
        return [each.status for each in self.emulator.books.requests if each.path.endswith("/events") and each.status]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with serve(Emulator(DECLARATION, pats={PAT}, tokens={TOKEN})) as served:
        stage = Stage(served)
        stage.job_is("Running")
        yield stage


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("status", "result"), [("Completed", "succeeded"), ("Failed", "failed"), ("Canceled", "canceled")]
)
def test_the_end_of_the_job_completes_the_task(stage: Stage, task: str, status: str, result: str) -> None:
    task_id = stage.start(task)
    stage.job_is("Finalizing")
    assert stage.task(task_id).state == "waiting"

    stage.job_is(status)
    stage.job_is(status)
    wait_until(lambda: stage.task(task_id).state == "completed")

    ended = stage.task(task_id)
    assert (ended.name, ended.result, ended.ended_by) == (task.partition("@")[0], result, "event")
    assert (ended.completions, ended.events[0].credential) == (1, "job token")
    assert ended.log_lines[0] == f"PATCH {stage.served.url}{JOB}?api-version=2024-04-01"
    assert leaks(json.dumps(stage.emulator.books.document())) == []
    assert leaks(str([each.body for each in stage.emulator.books.requests])) == []


def test_several_tasks_wait_for_one_job(stage: Stage) -> None:
    tasks = [stage.start(), stage.start()]
    stage.job_is("Completed")
    wait_until(lambda: [stage.task(each).result for each in tasks] == ["succeeded", "succeeded"])


def test_a_lost_post_back_is_not_repeated(stage: Stage) -> None:
    task_id = stage.start()
    stage.emulator.plan(Fault(accept=False, match=Match(path=EVENTS_PATH), status=503))
    stage.job_is("Completed")
    wait_until(lambda: stage.posts == [503])
    assert stage.task(task_id).state == "waiting"


def test_a_job_that_has_ended_before_sends_none(stage: Stage) -> None:
    stage.job_is("Completed")
    task_id = stage.start()
    stage.job_is("Completed")
    assert (stage.task(task_id).state, stage.posts) == ("waiting", [])


def test_a_canceled_pipeline_refuses_the_post_back(stage: Stage) -> None:
    task_id = stage.start()
    stage.emulator.books.task_hub.end_plan(stage.task(task_id).plan_id, "canceled")
    stage.job_is("Completed")
    wait_until(lambda: stage.posts == [404])
    assert (stage.task(task_id).result, stage.task(task_id).ended_by) == ("canceled", "plan")


def _changed(**changes: object) -> object:
    """Return the documented body with other fields in its webhook."""
    document: Any = json.loads(
        json.dumps(POST_BACK).replace("$(system.CollectionUri)", "https://dev.azure.com/contoso")
    )
    webhooks = document["Properties"]["NotificationSetting"]["Webhooks"]
    webhooks["hook"] = webhooks.popitem()[1] | changes
    return document


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "the body must be a JSON object"),
        ({"Properties": {}}, "the body must have notificationSetting"),
        ({"properties": {"notificationSetting": {"webhooks": {}}}}, "webhooks must not be empty"),
        ({"properties": {"notificationSetting": {"webhooks": {"hook": 1}}}}, "hook must be a JSON object"),
        (_changed(WebhookType="Slack"), "hook: webhookType must be AzureDevOps"),
        (_changed(EventType=None), "hook: eventType must be RunTerminated"),
        (_changed(PlanUri="ftp://here"), "hook: PlanUri must be an http or https URL"),
        (_changed(AuthToken=""), "hook: AuthToken must be a string without spaces"),
    ],
)
def test_a_wrong_body_is_refused(body: object, said: str) -> None:
    ado = Ado(Emulator(DECLARATION, pats={PAT}, tokens={TOKEN}))
    ado.emulator.books.jobs.set(WORKSPACE, "brave_fig", "Running")
    for document, status in ((body, 400), (_changed(), 200)):
        answer: Any = ado.ask("PATCH", JOB, document, headers=BEARER, query={"api-version": "2024-04-01"})
        assert answer.status_code == status
        if status == 400:
            validate("arm_error", answer.json)
            assert answer.json["error"]["message"] == f"{said}."
