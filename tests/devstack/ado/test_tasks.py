"""The events of the emulator's Task API: credentials, matching IDs, and the effect of each event."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from devstack.ado import EVENTS_PATH, Fault, Match
from devstack.ado.access import AZURE_DEVOPS
from devstack.ado.emulator import Emulator
from devstack.http_server import ConnectionDropped
from tests.support.services.emulator import DECLARATION, PAT, PROJECT, TOKEN, Ado, basic
from tests.support.services.tasks import OTHER_GUID, TaskClient, with_agentless

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


def test_a_started_task_waits_and_has_coordinates(task: TaskClient) -> None:
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
def test_a_task_keeps_its_first_result_and_counts_every_event(task: TaskClient, result: str) -> None:
    answer = task.complete(result)

    assert (answer.status_code, answer.data) == (204, b"")
    record = task.record
    assert (record.state, record.result, record.ended_by, record.completions) == ("completed", result, "event", 1)
    (event,) = record.events
    assert (event.name, event.result, event.credential) == ("TaskCompleted", result, "job token")
    assert [task.complete(other).status_code for other in ("succeeded", "failed")] == [204, 204]
    assert (task.record.result, task.record.completions, _effects(task)) == (result, 3, ["completed", "late", "late"])


@pytest.mark.parametrize("name", ["TaskAssigned", "TaskStarted"])
def test_other_events_are_noted(task: TaskClient, name: str) -> None:
    body = {key: value for key, value in task.completion(name=name).items() if key != "result"}

    assert task.ask("POST", f"{task.plan_path()}/events", body).status_code == 204
    assert (task.record.state, task.record.completions, _effects(task)) == ("waiting", 0, ["noted"])


@pytest.mark.parametrize("version", ["2.0-preview.1", "7.1"])
def test_supported_versions_of_events(task: TaskClient, version: str) -> None:
    assert task.complete(query={"api-version": version}).status_code == 204


def test_an_event_without_a_version_is_refused(task: TaskClient) -> None:
    path, key = f"{task.plan_path()}/events", "VssVersionNotSpecifiedException"
    task.refused(400, key, "POST", path, task.completion(), query={"api-version": None})
    assert task.record.events == ()


def test_ids_and_paths_are_not_case_sensitive(task: TaskClient) -> None:
    body = task.completion(taskId=task.record.id.upper(), jobId=task.record.job_id.upper())
    assert task.ask("POST", f"{task.plan_path()}/events".upper(), body).status_code == 204
    assert task.record.result == "succeeded"


# Credentials


def test_other_accepted_credentials(task: TaskClient) -> None:
    identity = task.emulator.credentials.issue(AZURE_DEVOPS)
    for headers in (basic(PAT), {"Authorization": f"Bearer {TOKEN}"}, basic(task.started.token, user="")):
        assert task.complete(headers=headers).status_code == 204
    assert task.complete(headers={"Authorization": f"Bearer {identity}"}).status_code == 204
    assert [event.credential for event in task.record.events] == ["PAT", "token", "job token", "token"]


def _refused_headers(task: TaskClient) -> list[dict[str, str]]:
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
        {"Authorization": f"Bearer {task.emulator.credentials.issue('https://management.azure.com')}"},
    ]


def test_all_other_credentials_are_refused_with_401(task: TaskClient) -> None:
    for headers in _refused_headers(task):
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


def test_outside_its_plan_a_job_token_is_valid_only_for_locations(task: TaskClient) -> None:
    assert task.ask("OPTIONS", "/contoso/_apis").status_code == 200
    assert task.ask("GET", "/contoso/_apis/resourceAreas").status_code == 200
    assert task.ask("GET", f"{PROJECT}/pipelines").status_code == 203
    task.emulator.books.task_hub.expire_token(task.record.plan_id)
    assert task.ask("OPTIONS", "/contoso/_apis").status_code == 203


# Matching IDs


def test_an_unknown_plan(task: TaskClient) -> None:
    path = f"{task.plan_path(plan=OTHER_GUID)}/events"

    task.refused(401, "UnauthorizedRequestException", "POST", path, task.completion())
    key = "TaskOrchestrationPlanNotFoundException"
    message = task.refused(404, key, "POST", path, task.completion(), headers=basic(PAT))
    assert message == f"No plan found for identifier {OTHER_GUID}."


UNREADABLE = 400, "VssPropertyValidationException"
NOWHERE = 404, "ResourceNotFoundException"
NO_PROJECT = 404, "ProjectDoesNotExistWithNameException"
INVALID_EVENTS: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"jobId": OTHER_GUID}, (404, "TaskOrchestrationJobNotFoundException")),
    ({"taskId": OTHER_GUID}, NOWHERE),
    ({"jobId": "job"}, UNREADABLE),
    ({"name": "taskcompleted"}, UNREADABLE),
    ({"name": "TaskStarted"}, UNREADABLE),
    ({"result": "Succeeded"}, UNREADABLE),
    ({"result": None}, UNREADABLE),
    ({"run_id": "brave_fig"}, UNREADABLE),
]


@pytest.mark.parametrize(("change", "refusal"), INVALID_EVENTS)
def test_invalid_events_are_refused(task: TaskClient, change: dict[str, Any], refusal: tuple[int, str]) -> None:
    task.refused(*refusal, "POST", f"{task.plan_path()}/events", task.completion(**change))
    assert task.record.events == ()


INVALID_BODIES: dict[tuple[str, str], list[object]] = {
    ("POST", "{plan}/events"): [[], "TaskCompleted"],
    ("POST", "{plan}/logs"): [{}, {"path": ""}, {"path": "x", "text": "y"}],
    ("POST", "{records}/{task}/feed"): [{}, {"value": []}, {"value": [1]}, {"value": ["x"], "count": 2}],
    ("PATCH", "{records}"): [
        *({}, {"value": ["x"]}, {"value": [], "count": 1}, {"value": [{"state": "completed"}]}),
        *({"value": [{"id": OTHER_GUID, **change}]} for change in ({"state": "done"}, {"log": {"id": 1}}, {"log": 0})),
    ],
}
INVALID_REQUESTS: list[tuple[str, str, object, tuple[int, str]]] = [
    ("POST", "{other_project}/events", {}, NO_PROJECT),
    ("POST", "{project_by_name}/events", {}, NO_PROJECT),
    ("POST", "{other_organization}/events", {}, NO_PROJECT),
    ("POST", "{other_hub}/events", {}, (404, "TaskOrchestrationPlanNotFoundException")),
    ("POST", "{no_guid}/events", {}, NOWHERE),
    ("POST", "{plan}/attachments", {}, NOWHERE),
    ("GET", "{plan}/events", None, (405, "MethodNotAllowedException")),
    ("GET", "{other_records}", None, NOWHERE),
    ("POST", "{records}/{other}/feed", {"value": ["x"]}, NOWHERE),
    *[(method, path, body, UNREADABLE) for (method, path), bodies in INVALID_BODIES.items() for body in bodies],
]


@pytest.mark.parametrize(("method", "path", "body", "refusal"), INVALID_REQUESTS, ids=str)
def test_invalid_requests_are_refused(
    task: TaskClient, method: str, path: str, body: object, refusal: tuple[int, str]
) -> None:
    places = {
        "plan": task.plan_path(),
        "records": task.records_path,
        "task": task.record.id,
        "other": OTHER_GUID,
        "other_records": f"{task.plan_path()}/timelines/{OTHER_GUID}/records",
        "other_project": task.plan_path(project=OTHER_GUID),
        "project_by_name": task.plan_path(project="mlops"),
        "other_organization": task.plan_path(organization="fabrikam"),
        "other_hub": task.plan_path(hub="rm"),
        "no_guid": task.plan_path(plan="not-a-guid"),
    }
    task.refused(*refusal, method, path.format(**places), body)
    assert (task.record.events, task.record.log_lines, task.record.feed_lines) == ((), (), ())


# The end of plans, and timeouts


def test_a_canceled_plan_is_not_found(task: TaskClient) -> None:
    task.emulator.books.task_hub.end_plan(task.record.plan_id, "canceled")

    key = "TaskOrchestrationPlanNotFoundException"
    task.refused(404, key, "POST", f"{task.plan_path()}/events", task.completion())
    task.refused(404, key, "GET", task.records_path)
    assert (task.record.result, task.record.ended_by, task.record.events) == ("canceled", "plan", ())


def test_an_ended_plan_keeps_its_first_result_and_may_answer_410() -> None:
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


# Faults, books, concurrency


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


def test_the_books_contain_no_tokens(task: TaskClient) -> None:
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


def test_concurrent_completions() -> None:
    task = TaskClient()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: task.complete(RESULTS[number % 6]).status_code, range(60)))

    assert statuses == [204] * 60
    assert task.record.completions == 60
    assert sorted(_effects(task)) == ["completed", *["late"] * 59]
    assert task.record.result == task.record.events[0].result
