"""What is sent to Azure DevOps about a task, and with whose credential; by value, over a transport that records."""

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
from shared.errors import AnswerLost, AzureDevOpsError, CredentialRejected, PermissionDenied, RequestRefused, Throttled
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from shared.http.transport import RequestsTransport
from shared.waits import tasks_protocol as protocol
from shared.waits.plan_url import PlanUrls
from shared.waits.request import Task, read_request
from shared.waits.tasks import Access, TasksClient
from tests.support.canaries import leaks, secret
from tests.support.fakes import LOST
from tests.support.waits import TOKEN, FakeTasks, a_task

TASK = Task(
    plan_url="https://dev.azure.com/contoso",
    project_id="11111111-0000-0000-0000-000000000001",
    hub_name="build",
    plan_id="22222222-0000-0000-0000-000000000002",
    job_id="33333333-0000-0000-0000-000000000003",
    timeline_id="44444444-0000-0000-0000-000000000004",
    task_instance_id="55555555-0000-0000-0000-000000000005",
)
PLAN = (
    "https://dev.azure.com/contoso/11111111-0000-0000-0000-000000000001/_apis/distributedtask/hubs/build/plans/"
    "22222222-0000-0000-0000-000000000002"
)
TIMELINE = f"{PLAN}/timelines/44444444-0000-0000-0000-000000000004"
VERSION = "api-version=7.1-preview.1"
OWN = Secret(f"Bearer {secret('own')}")


class Recorder:
    """A transport that notes what it is to send and answers as it is told."""

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


LOG = f"logs\\{TASK.task_instance_id}"
COMPLETED = {"name": "TaskCompleted", "taskId": TASK.task_instance_id, "jobId": TASK.job_id, "result": "canceled"}
LOG_RECORD = {"id": TASK.task_instance_id, "log": {"id": 7, "path": LOG}}


@pytest.mark.parametrize(
    ("request_", "method", "url", "body"),
    [
        (protocol.complete_task(TASK, "canceled"), "POST", f"{PLAN}/events?api-version=2.0-preview.1", COMPLETED),
        (protocol.list_records(TASK), "GET", f"{TIMELINE}/records?{VERSION}", None),
        (
            protocol.append_to_feed(TASK, ["one", "two"]),
            *("POST", f"{TIMELINE}/records/{TASK.task_instance_id}/feed?{VERSION}"),
            {"value": ["one", "two"], "count": 2},
        ),
        (protocol.create_log(TASK), "POST", f"{PLAN}/logs?{VERSION}", {"path": LOG}),
        (
            protocol.attach_log(TASK, 7),
            *("PATCH", f"{TIMELINE}/records?{VERSION}", {"value": [LOG_RECORD], "count": 1}),
        ),
    ],
)
def test_requests(request_: HttpRequest, method: str, url: str, body: object) -> None:
    sent = json.loads(request_.body) if request_.body else None
    assert (request_.method, request_.url, sent) == (method, url, body)


def test_the_lines_of_a_log_are_not_json() -> None:
    request = protocol.append_to_log(TASK, 7, ["one", "two"])
    assert request[:4] == ("POST", f"{PLAN}/logs/7?{VERSION}", b"one\ntwo\n", "application/octet-stream")


class TestAnswers:
    @pytest.mark.parametrize(
        ("state", "over"), [("completed", True), ("inProgress", False), ("pending", False), (None, False)]
    )
    def test_whether_a_task_is_over(self, state: str | None, *, over: bool) -> None:
        document = {
            "value": [{"id": "another", "state": "completed"}, {"id": TASK.task_instance_id.upper(), "state": state}]
        }
        assert protocol.read_is_over(document, TASK) is over

    def test_a_plan_without_the_task(self) -> None:
        with pytest.raises(RequestRefused) as caught:
            protocol.read_is_over({"value": []}, TASK)
        assert caught.value.not_found

    @pytest.mark.parametrize(
        ("read", "documents"),
        [
            (
                lambda document: protocol.read_is_over(document, TASK),
                ({"value": [{}]}, {"value": [7]}, {"value": [{"id": 7}]}),
            ),
            (protocol.read_log_id, ({"id": "7"}, {"id": True})),
        ],
    )
    def test_what_cannot_be_read(self, read: Callable[[object], object], documents: tuple[object, ...]) -> None:
        for document in (None, [], {}, *documents):
            with pytest.raises(AnswerLost):
                read(document)

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
            (answer(302, location="https://evil.example/"), CredentialRejected),
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
        ids=["the task's own token", "once the app's own where that is refused", "the app's own where there is none"],
    )
    def test_which_is_shown(self, token: str, statuses: list[int], shown: list[str]) -> None:
        recorder = Recorder(*map(answer, statuses))
        complete(recorder, Access(Secret(token) if token else None, identity=True))
        assert recorder.authorizations == shown

    def test_only_once_and_what_was_refused_is_not_shown_again(self) -> None:
        recorder = Recorder(answer(401), answer(401), answer(401), answer(204))
        own = iter([OWN, Secret(f"Bearer {secret('renewed')}")])
        tasks = client(recorder, Credential(lambda: Issued(next(own))))
        access, deadline = Access(Secret(TOKEN), identity=True), utc_now() + timedelta(minutes=5)
        with pytest.raises(CredentialRejected):
            tasks.complete(TASK, access, "succeeded", deadline)
        assert len(recorder.sent) == 2
        tasks.complete(TASK, access, "succeeded", deadline)
        assert recorder.authorizations[3] == f"Bearer {secret('renewed')}"

    @pytest.mark.parametrize(
        ("token", "statuses", "complaint"),
        [
            (Secret(TOKEN), [401], "the app's own identity is not used for it"),
            (None, [], "was a key removed too early"),
        ],
    )
    def test_where_the_apps_own_may_not_be_used(
        self, token: Secret | None, statuses: list[int], complaint: str
    ) -> None:
        recorder = Recorder(*map(answer, statuses))
        with pytest.raises(CredentialRejected, match=complaint):
            complete(recorder, Access(token))
        assert len(recorder.sent) == len(statuses)


@dataclass
class Stand:
    """A task that waits, and the client and the emulator, or the fake."""

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
def test_the_client_and_its_fake_know_whether_a_task_is_over(stand: Stand, lost: bool) -> None:
    deadline = utc_now() + timedelta(minutes=5)
    assert not stand.tasks.is_over(stand.task, stand.access, deadline)
    if lost:
        stand.lose_an_answer()
    with pytest.raises(AnswerLost) if lost else nullcontext():
        stand.tasks.complete(stand.task, stand.access, "succeeded", deadline)
    assert stand.tasks.is_over(stand.task, stand.access, deadline)
