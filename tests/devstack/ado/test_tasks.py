"""The events of the emulator's Task API, by value: who may, what fits together, what an event does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from devstack.ado import EVENTS_PATH, Fault, Match
from devstack.ado.emulator import Emulator
from devstack.serving import ConnectionDropped
from tests.support.emulator import DECLARATION, PAT, PROJECT, TOKEN, Ado, basic
from tests.support.tasks import OTHER_GUID, TaskClient, with_agentless

if TYPE_CHECKING:
    from tests.support.clock import ManualClock

RESULTS = ["succeeded", "succeededWithIssues", "failed", "canceled", "skipped", "abandoned"]


@pytest.fixture
def task() -> TaskClient:
    return TaskClient()


def _emulator(clock: ManualClock, **agentless: Any) -> Emulator:
    return Emulator(with_agentless(**agentless), pats={PAT}, tokens={TOKEN}, clock=clock)


def _effects(task: TaskClient) -> list[str]:
    return [event.effect for event in task.record.events]


def test_a_started_task_waits_and_says_where_it_is(task: TaskClient) -> None:
    record, headers = task.record, task.started.headers

    assert (record.name, record.state, record.result) == ("AzureFunction", "waiting", None)
    assert record.deadline - record.started == timedelta(minutes=60)
    assert headers == {
        "Content-Type": "application/json",
        "PlanUrl": "http://localhost/contoso/",
        "ProjectId": DECLARATION.project_id,
        "HubName": "build",
        "PlanId": record.plan_id,
        "JobId": record.job_id,
        "TimelineId": record.plan_id,
        "TaskInstanceId": record.id,
        "AuthToken": task.started.token,
    }
    assert len({record.id, record.plan_id, record.job_id}) == 3


@pytest.mark.parametrize("result", RESULTS)
def test_an_event_completes_the_task(task: TaskClient, result: str) -> None:
    answer = task.complete(result)

    assert (answer.status_code, answer.data) == (204, b"")
    record = task.record
    assert (record.state, record.result, record.ended_by, record.completions) == ("completed", result, "event", 1)
    assert record.finished is not None
    (event,) = record.events
    assert (event.name, event.result, event.credential, event.effect) == (
        "TaskCompleted",
        result,
        "job token",
        "completed",
    )


def test_the_first_result_wins_and_every_event_is_counted(task: TaskClient) -> None:
    statuses = [task.complete(result).status_code for result in ("failed", "succeeded", "failed")]

    assert statuses == [204] * 3
    assert (task.record.result, task.record.completions) == ("failed", 3)
    assert _effects(task) == ["completed", "late", "late"]


@pytest.mark.parametrize("name", ["TaskAssigned", "TaskStarted"])
def test_other_events_are_noted(task: TaskClient, name: str) -> None:
    body = {key: value for key, value in task.completion(name=name).items() if key != "result"}

    assert task.ask("POST", f"{task.plan_path()}/events", body).status_code == 204
    assert (task.record.state, task.record.completions, _effects(task)) == ("waiting", 0, ["noted"])


@pytest.mark.parametrize("version", ["2.0-preview.1", "6.0", "7.1", "7.2-preview.1"])
def test_versions_that_events_are_sent_with(task: TaskClient, version: str) -> None:
    assert task.complete(query={"api-version": version}).status_code == 204


@pytest.mark.parametrize(
    ("version", "key"), [(None, "VssVersionNotSpecifiedException"), ("7.2", "VssInvalidPreviewVersionException")]
)
def test_versions_that_are_refused(task: TaskClient, version: str | None, key: str) -> None:
    task.refused(400, key, "POST", f"{task.plan_path()}/events", task.completion(), query={"api-version": version})
    assert task.record.events == ()


def test_upper_case_ids_and_paths_are_the_same(task: TaskClient) -> None:
    body = task.completion(taskId=task.record.id.upper(), jobId=task.record.job_id.upper())

    assert task.ask("POST", f"{task.plan_path()}/events".upper(), body).status_code == 204
    assert task.record.result == "succeeded"


# Who may


@pytest.mark.parametrize(
    "headers",
    [basic(PAT), {"Authorization": f"Bearer {TOKEN}"}],
    ids=["PAT", "token"],
)
def test_the_emulators_own_credentials_may_too(task: TaskClient, headers: dict[str, str]) -> None:
    assert task.complete(headers=headers).status_code == 204
    assert task.record.events[0].credential == ("PAT" if "Basic" in headers["Authorization"] else "token")


def test_the_job_token_may_be_the_password_of_nobody(task: TaskClient) -> None:
    assert task.complete(headers=basic(task.started.token, user="")).status_code == 204


def test_a_token_of_the_managed_identity_may(task: TaskClient) -> None:
    token = task.emulator.credentials.issue("499b84ac-1321-427f-aa17-267ca6975798")
    arm_token = task.emulator.credentials.issue("https://management.azure.com")

    assert task.complete(headers={"Authorization": f"Bearer {arm_token}"}).status_code == 401
    assert task.complete(headers={"Authorization": f"Bearer {token}"}).status_code == 204


def _unwelcome(task: TaskClient) -> list[dict[str, str]]:
    other = task.emulator.start_wait_task("http://localhost/contoso")
    return [
        {"Authorization": ""},
        {"Authorization": "Bearer canary-unknown"},
        {"Authorization": f"Digest {task.started.token}"},
        {"Authorization": f"Bearer {other.token}"},
        {"Authorization": "Basic canary-no-base64"},
        basic(other.token, user=""),
        basic(task.started.token, user="somebody"),
        basic("canary-bad"),
        basic(TOKEN),
    ]


def test_everybody_else_is_refused_with_a_401(task: TaskClient) -> None:
    for headers in _unwelcome(task):
        path = f"{task.plan_path()}/events"
        task.refused(401, "UnauthorizedRequestException", "POST", path, task.completion(), headers=headers)

    assert task.record.events == ()


def test_a_job_token_expires(clock: ManualClock) -> None:
    task = TaskClient(_emulator(clock, token_hours=2, timeout_minutes=600))
    clock.advance(2 * 3600 - 1)
    assert task.ask("GET", task.records_path).status_code == 200

    clock.advance(1)
    assert task.complete().status_code == 401
    assert task.complete(headers=basic(PAT)).status_code == 204


def test_a_job_token_is_expired_on_purpose(task: TaskClient) -> None:
    task.emulator.books.task_hub.expire_token(task.record.plan_id)

    assert task.complete().status_code == 401
    assert task.record.state == "waiting"


def test_a_job_token_opens_nothing_else(task: TaskClient) -> None:
    assert task.ask("OPTIONS", "/contoso/_apis").status_code == 200
    assert task.ask("GET", "/contoso/_apis/resourceAreas").status_code == 200
    assert task.ask("GET", f"{PROJECT}/pipelines").status_code == 203
    task.emulator.books.task_hub.expire_token(task.record.plan_id)
    assert task.ask("OPTIONS", "/contoso/_apis").status_code == 203


# What fits together


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({"project": OTHER_GUID}, "ProjectDoesNotExistWithNameException"),
        ({"project": "mlops"}, "ProjectDoesNotExistWithNameException"),
        ({"organization": "fabrikam"}, "ProjectDoesNotExistWithNameException"),
        ({"hub": "rm"}, "TaskOrchestrationPlanNotFoundException"),
        ({"plan": "not-a-guid"}, "ResourceNotFoundException"),
    ],
)
def test_paths_that_lead_nowhere(task: TaskClient, other: dict[str, str], key: str) -> None:
    task.refused(404, key, "POST", f"{task.plan_path(**other)}/events", task.completion())
    assert task.record.events == ()


def test_an_unknown_plan(task: TaskClient) -> None:
    path = f"{task.plan_path(plan=OTHER_GUID)}/events"

    task.refused(401, "UnauthorizedRequestException", "POST", path, task.completion())
    key = "TaskOrchestrationPlanNotFoundException"
    message = task.refused(404, key, "POST", path, task.completion(), headers=basic(PAT))
    assert message == f"No plan found for identifier {OTHER_GUID}."


@pytest.mark.parametrize(
    ("change", "status", "key"),
    [
        ({"jobId": OTHER_GUID}, 404, "TaskOrchestrationJobNotFoundException"),
        ({"taskId": OTHER_GUID}, 404, "ResourceNotFoundException"),
        ({"jobId": "job"}, 400, "VssPropertyValidationException"),
        ({"taskId": None}, 400, "VssPropertyValidationException"),
        ({"taskId": 7}, 400, "VssPropertyValidationException"),
        ({"name": "taskcompleted"}, 400, "VssPropertyValidationException"),
        ({"name": "JobCompleted"}, 400, "VssPropertyValidationException"),
        ({"name": ["TaskCompleted"]}, 400, "VssPropertyValidationException"),
        ({"result": "Succeeded"}, 400, "VssPropertyValidationException"),
        ({"result": "Completed"}, 400, "VssPropertyValidationException"),
        ({"result": None}, 400, "VssPropertyValidationException"),
        ({"result": ["succeeded"]}, 400, "VssPropertyValidationException"),
        ({"run_id": "brave_fig"}, 400, "VssPropertyValidationException"),
        ({"name": "TaskStarted"}, 400, "VssPropertyValidationException"),
    ],
)
def test_events_that_do_not_fit(task: TaskClient, change: dict[str, Any], status: int, key: str) -> None:
    task.refused(status, key, "POST", f"{task.plan_path()}/events", task.completion(**change))
    assert task.record.events == ()


@pytest.mark.parametrize("body", [[], "TaskCompleted", 1])
def test_bodies_that_are_no_event(task: TaskClient, body: object) -> None:
    task.refused(400, "VssPropertyValidationException", "POST", f"{task.plan_path()}/events", body)
    assert task.record.events == ()


def test_an_event_must_be_json(task: TaskClient) -> None:
    headers = {**task.bearer, "Content-Type": "text/plain"}
    key = "VssRequestContentTypeNotSupportedException"
    task.refused(415, key, "POST", f"{task.plan_path()}/events", task.completion(), headers=headers)


@pytest.mark.parametrize(
    ("method", "what", "allowed"), [("GET", "/events", "POST"), ("PUT", "/logs", "POST"), ("DELETE", "/logs/1", "POST")]
)
def test_methods_that_there_are_not(task: TaskClient, method: str, what: str, allowed: str) -> None:
    path = f"{task.plan_path()}{what}"
    task.refused(405, "MethodNotAllowedException", method, path)
    assert task.ask(method, path).headers["Allow"] == allowed


def test_an_address_of_the_hub_that_there_is_not(task: TaskClient) -> None:
    task.refused(404, "ResourceNotFoundException", "POST", f"{task.plan_path()}/attachments", {})


# The end of plans, and time


def test_a_cancelled_plan_is_not_found_any_more(task: TaskClient) -> None:
    task.emulator.books.task_hub.end_plan(task.record.plan_id, "canceled")

    key = "TaskOrchestrationPlanNotFoundException"
    task.refused(404, key, "POST", f"{task.plan_path()}/events", task.completion())
    task.refused(404, key, "GET", task.records_path)
    assert (task.record.result, task.record.ended_by, task.record.events) == ("canceled", "plan", ())


def test_an_ended_plan_may_be_gone() -> None:
    task = TaskClient(Emulator(with_agentless(ended_plan_status=410)))
    hub = task.emulator.books.task_hub
    task.complete("failed")
    assert hub.end_plan(task.record.plan_id, "failed").result == "failed"
    assert hub.end_plan(task.record.plan_id, "succeeded", 404).result == "failed"

    assert task.complete().status_code == 410
    assert (task.record.result, task.record.ended_by) == ("failed", "event")


def test_a_task_times_out(clock: ManualClock) -> None:
    task = TaskClient(_emulator(clock), timeout_minutes=5)
    clock.advance(5 * 60 - 1)
    assert task.record.state == "waiting"
    deadline = task.record.deadline

    clock.advance(100)
    assert (task.record.result, task.record.ended_by, task.record.finished) == ("canceled", "timeout", deadline)
    assert task.complete().status_code == 204
    assert (task.record.result, _effects(task)) == ("canceled", ["late"])


def test_a_task_is_timed_out_on_purpose(task: TaskClient) -> None:
    hub = task.emulator.books.task_hub

    assert hub.time_out(task.record.id).ended_by == "timeout"
    task.complete()
    assert hub.time_out(task.record.id).result == "canceled"


def test_somebody_waits_for_the_end(task: TaskClient) -> None:
    hub = task.emulator.books.task_hub
    assert hub.wait(task.record.id, 0).state == "waiting"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(hub.wait, task.record.id, 30)
        task.complete("canceled")
        assert waiting.result().result == "canceled"


def test_ids_that_there_are_not(task: TaskClient) -> None:
    hub = task.emulator.books.task_hub

    for look in (hub.task, hub.time_out, lambda task_id: hub.wait(task_id, 1)):
        with pytest.raises(LookupError, match="there is no task"):
            look(OTHER_GUID)
    for change in (hub.expire_token, lambda plan_id: hub.end_plan(plan_id, "failed")):
        with pytest.raises(LookupError, match="there is no plan"):
            change(OTHER_GUID)


# Faults, books, many at once


def test_faults_apply_to_events(task: TaskClient) -> None:
    match = Match(path=EVENTS_PATH)
    task.emulator.plan(
        Fault(accept=False, status=503, match=match, headers={"Retry-After": "1"}),
        Fault(accept=True, drop=True, match=match),
    )

    assert task.complete().status_code == 503
    assert task.record.completions == 0
    with pytest.raises(ConnectionDropped):
        task.complete()
    assert (task.record.result, task.record.completions) == ("succeeded", 1)


def test_the_books_over_http(task: TaskClient) -> None:
    task.complete("failed")
    books: Any = Ado(task.emulator).ask("GET", "/_emulator/books").json

    (entry,) = books["tasks"]
    assert (entry["taskInstanceId"], entry["planId"], entry["jobId"]) == (
        task.record.id,
        task.record.plan_id,
        task.record.job_id,
    )
    assert (entry["state"], entry["result"], entry["endedBy"], entry["completions"]) == (
        "completed",
        "failed",
        "event",
        1,
    )
    assert [event["effect"] for event in entry["events"]] == ["completed"]
    assert [request["status"] for request in books["requests"]] == [204]


def test_no_token_is_in_the_books(task: TaskClient) -> None:
    token = task.started.token
    other = task.emulator.credentials.issue("https://management.azure.com")
    path = f"{task.records_path}/{task.record.id}/feed"
    task.ask("POST", path, {"value": [f"the token is {token}", other]})
    task.ask("POST", f"{task.plan_path()}/logs", {"path": token})
    binary = {**task.bearer, "Content-Type": "application/octet-stream"}
    task.ask("POST", f"{task.plan_path()}/logs/1", data=token.encode(), headers=binary)
    task.ask("PATCH", task.records_path, {"value": [{"id": task.record.id, "log": {"id": 1}}]})
    task.complete(headers={"Authorization": f"Bearer {token}x"})
    task.complete()

    books = Ado(task.emulator).ask("GET", "/_emulator/books").text
    assert "the token is ***" in books
    shown = [books, repr(task.emulator.books.tasks), repr(task.started)]
    assert [text for text in shown if "canary" in text] == []


def test_many_completions_at_once() -> None:
    task = TaskClient()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: task.complete(RESULTS[number % 6]).status_code, range(60)))

    assert statuses == [204] * 60
    assert task.record.completions == 60
    assert sorted(_effects(task)) == ["completed", *["late"] * 59]
    assert task.record.result == task.record.events[0].result
