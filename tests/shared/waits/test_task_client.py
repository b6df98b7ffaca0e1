"""Tests of TasksClient: the requests, the answers, and which credential each request carries."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast

import pytest

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from shared.clock import utc_now
from shared.credentials import Credential, Issued, Secret
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    PermissionDenied,
    RequestRefused,
    Throttled,
    VersionNotSupported,
)
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.http.transport import RequestsTransport
from shared.waits import task_protocol as protocol
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, read_request
from shared.waits.task_client import Access, TasksClient
from tests.support.canaries import leaks, secret
from tests.support.fakes import LOST
from tests.support.waits import TOKEN, FakeTasks, a_task

TASK = a_task()
PLAN = f"{TASK.plan_url}/{TASK.project_id}/_apis/distributedtask/hubs/build/plans/{TASK.plan_id}"
RECORDS = f"{PLAN}/timelines/{TASK.timeline_id}/records"
VERSION = "api-version=7.1-preview.1"
OWN = Secret(f"Bearer {secret('own')}")


class Recorder:
    """A transport that records the requests and returns the given answers."""

    def __init__(self, *answers: HttpResponse) -> None:
        self.sent: list[tuple[HttpRequest, str]] = []
        self._answers = list(answers)

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.sent.append((request, authorization))
        return self._answers.pop(0)

    @property
    def authorizations(self) -> list[str]:
        return [authorization for _, authorization in self.sent]


def answer(status: int, document: object = None, **headers: str) -> HttpResponse:
    return HttpResponse(status, headers, b"" if document is None else json.dumps(document).encode())


def client(recorder: Recorder, own: Credential | None = None) -> TasksClient:
    sender = Sender(recorder, ThrottleGate(), sleep=lambda _: None)
    return TasksClient(sender, own or Credential(lambda: Issued(OWN)))


def complete(recorder: Recorder, access: Access) -> None:
    client(recorder).complete(TASK, access, "succeeded", utc_now() + timedelta(seconds=5))


def test_requests() -> None:
    task_id, log = TASK.task_instance_id, f"logs\\{TASK.task_instance_id}"
    completed = {"name": "TaskCompleted", "taskId": task_id, "jobId": TASK.job_id, "result": "canceled"}
    with_log = {"value": [{"id": task_id, "log": {"id": 7, "path": log}}], "count": 1}
    sent = [
        protocol.complete_task(TASK, "canceled"),
        protocol.list_records(TASK),
        protocol.append_to_feed(TASK, ["a", "b"]),
        protocol.create_log(TASK),
        protocol.attach_log(TASK, 7),
    ]
    assert [(request.method, request.url, json.loads(request.body or b"null")) for request in sent] == [
        ("POST", f"{PLAN}/events?api-version=2.0-preview.1", completed),
        ("GET", f"{RECORDS}?{VERSION}", None),
        ("POST", f"{RECORDS}/{task_id}/feed?{VERSION}", {"value": ["a", "b"], "count": 2}),
        ("POST", f"{PLAN}/logs?{VERSION}", {"path": log}),
        ("PATCH", f"{RECORDS}?{VERSION}", with_log),
    ]
    filled = protocol.append_to_log(TASK, 7, ["one", "two"])
    assert filled[:4] == ("POST", f"{PLAN}/logs/7?{VERSION}", b"one\ntwo\n", "application/octet-stream")


def test_the_version_of_the_task_api_follows_the_setting() -> None:
    """The event that completes a task has its own version."""
    recorder = Recorder(answer(200), answer(200))
    tasks = TasksClient(Sender(recorder, ThrottleGate()), Credential(lambda: Issued(OWN)), "7.0-preview.2")
    deadline, access = utc_now() + timedelta(seconds=5), Access(Secret(TOKEN))
    tasks.show_lines(TASK, access, ["a"], deadline)
    tasks.complete(TASK, access, "succeeded", deadline)
    versions = [request.url.partition("?")[2] for request, _ in recorder.sent]
    assert versions == ["api-version=7.0-preview.1", "api-version=2.0-preview.1"]


class TestAnswers:
    @pytest.mark.parametrize(
        ("state", "over"), [("completed", True), ("inProgress", False), ("pending", False), (None, False)]
    )
    def test_whether_a_task_has_ended(self, state: str | None, *, over: bool) -> None:
        document = {
            "value": [{"id": "another", "state": "completed"}, {"id": TASK.task_instance_id.upper(), "state": state}]
        }
        assert protocol.read_is_over(document, TASK) is over

    def test_a_plan_without_the_task(self) -> None:
        with pytest.raises(RequestRefused) as caught:
            protocol.read_is_over({"value": []}, TASK)
        assert caught.value.not_found

    @pytest.mark.parametrize("document", [None, [], {}, {"value": [{}]}, {"value": [7]}, {"value": [{"id": 7}]}])
    def test_not_a_list_of_records(self, document: object) -> None:
        with pytest.raises(AnswerLost):
            protocol.read_is_over(document, TASK)

    @pytest.mark.parametrize("document", [None, [], {}, {"id": "7"}, {"id": True}])
    def test_not_a_log(self, document: object) -> None:
        with pytest.raises(AnswerLost):
            protocol.read_log_id(document)

    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_any_2xx_is_success(self, status: int) -> None:
        complete(Recorder(answer(status)), Access(Secret(TOKEN)))

    @pytest.mark.parametrize(
        ("response", "error"),
        [
            (answer(400, {"message": "no"}), RequestRefused),
            (answer(404), RequestRefused),
            (answer(410), RequestRefused),
            (answer(403), PermissionDenied),
            (answer(429), Throttled),
            (answer(500), AnswerLost),
            (answer(203), CredentialRejected),
            (answer(302, location="https://login.microsoftonline.com/"), CredentialRejected),
            (answer(302, location="https://evil.example/"), AnswerLost),
            (HttpResponse(200, {"content-type": "text/html"}, b"<html>"), AnswerLost),
            (answer(503, **{"retry-after": "7"}), AnswerLost),
            (answer(400, {"typeKey": "VssVersionOutOfRangeException"}), VersionNotSupported),
            (answer(500, {"typeKey": "AccessDeniedException"}), PermissionDenied),
        ],
    )
    def test_everything_else(self, response: HttpResponse, error: type[AzureDevOpsError]) -> None:
        with pytest.raises(error) as caught:
            complete(Recorder(response), Access(Secret(TOKEN)))
        assert getattr(caught.value, "not_found", False) is (response.status in {404, 410})
        assert leaks(str(caught.value)) == []


class TestCredentials:
    @pytest.mark.parametrize(
        ("token", "statuses", "shown"),
        [
            (TOKEN, [204], [f"Bearer {TOKEN}"]),
            (TOKEN, [401, 204], [f"Bearer {TOKEN}", OWN.value]),
            ("", [204], [OWN.value]),
        ],
        ids=["the task's token", "the app's identity after a rejected token", "the app's identity without a token"],
    )
    def test_which_credential_is_sent(self, token: str, statuses: list[int], shown: list[str]) -> None:
        recorder = Recorder(*map(answer, statuses))
        complete(recorder, Access(Secret(token) if token else None, identity=True))
        assert recorder.authorizations == shown

    def test_the_identity_is_tried_once_and_a_rejected_token_is_not_sent_again(self) -> None:
        recorder = Recorder(answer(401), answer(401), answer(401), answer(204))
        own = iter([OWN, Secret(f"Bearer {secret('renewed')}")])
        tasks = client(recorder, Credential(lambda: Issued(next(own))))
        access, deadline = Access(Secret(TOKEN), identity=True), utc_now() + timedelta(minutes=5)
        with pytest.raises(CredentialRejected):
            tasks.complete(TASK, access, "succeeded", deadline)
        assert len(recorder.sent) == 2
        tasks.complete(TASK, access, "succeeded", deadline)
        assert recorder.authorizations[3] == f"Bearer {secret('renewed')}"

    def test_the_identity_is_not_used_without_permission(self) -> None:
        with pytest.raises(CredentialRejected, match="the app's own identity may not be used for it"):
            complete(Recorder(answer(401)), Access(Secret(TOKEN)))
        with pytest.raises(CredentialRejected, match="was a key removed too early"):
            complete(Recorder(), Access(None))


@dataclass
class Stand:
    """A waiting task, with the client and the emulator, or with the fake."""

    tasks: TasksClient | FakeTasks
    task: Task
    access: Access
    lose_an_answer: Callable[[], object]


@pytest.fixture
def client_stand() -> Iterator[Stand]:
    emulator = Emulator(load_declaration(), pats={secret("pat")})
    transport = RequestsTransport(1)
    with serve(emulator) as served:
        started = emulator.start_wait_task(served.organization_url)
        headers = {**started.headers, "AuthToken": started.token}
        request = read_request(headers, b'{"run_id": "r"}', PlanUrls(served.organization_url, [], in_azure=False))
        tasks = TasksClient(Sender(transport, ThrottleGate()), Credential(lambda: Issued(OWN)))
        lose = partial(emulator.plan, Fault(accept=True, drop=True, match=Match(path="/events$")))
        yield Stand(tasks, request.task, Access(request.token), lose)
        transport.close()


@pytest.fixture(params=["client", "fake"])
def stand(request: pytest.FixtureRequest) -> Stand:
    if request.param == "client":
        return cast("Stand", request.getfixturevalue("client_stand"))
    fake = FakeTasks(utc_now)
    return Stand(fake, a_task(), Access(Secret(TOKEN)), partial(fake.plan, "complete", LOST))


@pytest.mark.parametrize("lost", [False, True])
def test_client_and_fake_agree_on_whether_a_task_has_ended(stand: Stand, lost: bool) -> None:
    deadline = utc_now() + timedelta(minutes=5)
    assert not stand.tasks.has_ended(stand.task, stand.access, deadline)
    if lost:
        stand.lose_an_answer()
    with pytest.raises(AnswerLost) if lost else nullcontext():
        stand.tasks.complete(stand.task, stand.access, "succeeded", deadline)
    assert stand.tasks.has_ended(stand.task, stand.access, deadline)
