"""The client and the fake that replaces it in other tests, previews, and the same pipeline name in several projects."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
import yaml

from devstack.ado import Emulator, Fault, Match, load_declaration, serve
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.reconcile import Expected, group_by_likeness
from shared.azure_devops.runs import Run, RunRequest
from shared.azure_devops.values import Likeness
from shared.credentials import pat_from_environment
from shared.errors import (
    AnswerLost,
    AzureDevOpsError,
    CredentialRejected,
    CredentialUnavailable,
    PermissionDenied,
    RequestNotSent,
    RequestRefused,
    Throttled,
)
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport
from tests.contracts import validate
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, SKEW, FakePipelines

MODEL = RunRequest("https://dev.azure.com/contoso", "mlops", 11, "main", {"runId": "r", "experimentName": "train"})


@dataclass
class Stand:
    """The client with the emulator, or the fake. The server's clock is ``SKEW`` ahead of ours."""

    clock: ManualClock
    pipelines: PipelinesClient | FakePipelines
    request: RunRequest
    lose_an_answer: Callable[[], object]

    @property
    def deadline(self) -> datetime:
        return self.clock() + timedelta(seconds=10)

    def run(self, request: RunRequest | None = None) -> Run:
        return self.pipelines.run(request or self.request, self.deadline, str(uuid.uuid4()))

    def found(self, since: timedelta, until: timedelta) -> list[int]:
        """Return the IDs of the runs between two times, relative to now by our clock, that fit the request."""
        now = self.clock()
        requester = self.pipelines.requester(self.request, self.deadline)
        pages = self.pipelines.builds(self.request, now + since, now + until, self.deadline)
        judged = group_by_likeness(chain(*pages), Expected(self.request, str(uuid.uuid4()), requester))
        return [build.run.id for build in judged[Likeness.FIT]]


@pytest.fixture
def emulator(clock: ManualClock) -> Emulator:
    return Emulator(load_declaration(), pats={secret("pat")}, clock=lambda: clock() + SKEW)


@pytest.fixture
def client_stand(clock: ManualClock, emulator: Emulator) -> Iterator[Stand]:
    transport = RequestsTransport(1)
    client = PipelinesClient(pat_from_environment(lambda: secret("pat")), transport, clock=clock)
    with serve(emulator) as served:
        request = MODEL._replace(organization_url=served.organization_url)
        yield Stand(clock, client, request, lambda: emulator.plan(Fault(accept=True, drop=True)))
        transport.close()


@pytest.fixture(params=["client", "fake"])
def stand(request: pytest.FixtureRequest, clock: ManualClock) -> Stand:
    if request.param == "client":
        return cast("Stand", request.getfixturevalue("client_stand"))
    fake = FakePipelines(clock)
    return Stand(clock, fake, MODEL, lambda: fake.plan.append(LOST))


class TestBoth:
    MINUTE = timedelta(minutes=1)

    def test_a_run_is_found_by_the_time_of_our_clock(self, stand: Stand) -> None:
        run = stand.run()
        assert stand.found(-self.MINUTE, self.MINUTE) == [run.id]
        assert stand.found(self.MINUTE, 2 * self.MINUTE) == []
        assert stand.found(-2 * self.MINUTE, -self.MINUTE) == []

    def test_a_run_with_other_parameters_is_not_found(self, stand: Stand) -> None:
        stand.run(stand.request._replace(parameters={"runId": "other", "experimentName": "train"}))
        assert stand.found(-self.MINUTE, self.MINUTE) == []

    def test_a_run_whose_answer_was_lost_is_found(self, stand: Stand) -> None:
        stand.lose_an_answer()
        with pytest.raises(AnswerLost):
            stand.run()
        second = stand.run()
        first_found, second_found = stand.found(-self.MINUTE, self.MINUTE)
        assert first_found < second_found == second.id

    def test_one_run_is_found_by_its_id(self, stand: Stand) -> None:
        run = stand.run()
        build = stand.pipelines.build(stand.request, run.id, stand.deadline)
        assert build is not None
        assert (build.run.id, build.pipeline_id) == (run.id, stand.pipelines.pipeline_id(stand.request, stand.deadline))
        assert build.queued_at is not None
        assert abs(build.queued_at - stand.clock()) < self.MINUTE
        assert stand.pipelines.build(stand.request, run.id + 1, stand.deadline) is None

    def test_additional_parameters_are_compared_by_what_would_run(self, stand: Stand) -> None:
        if isinstance(stand.pipelines, FakePipelines):
            stand.pipelines.defaults = {"experimentName": "train"}
        assert stand.pipelines.adds_nothing(stand.request, {"experimentName": "train"}, stand.deadline)
        assert not stand.pipelines.adds_nothing(stand.request, {"experimentName": "another"}, stand.deadline)


def test_work_is_admitted_until_azure_devops_asks_for_a_pause(client_stand: Stand, emulator: Emulator) -> None:
    assert isinstance(client_stand.pipelines, PipelinesClient)
    organization_url = client_stand.request.organization_url
    assert client_stand.pipelines.admit(organization_url) == 0
    emulator.plan(Fault(accept=False, status=429, headers={"Retry-After": "7"}))
    with pytest.raises(Throttled):
        client_stand.run()
    assert [client_stand.pipelines.admit(organization_url) for _ in range(2)] == pytest.approx([7.04, 7.08])
    client_stand.clock.advance(7)
    assert client_stand.pipelines.admit(organization_url) == 0


def test_without_a_credential_work_is_admitted_and_fails_with_the_reason() -> None:
    client = PipelinesClient(pat_from_environment(lambda: None), RequestsTransport(1))
    assert client.admit(MODEL.organization_url) == 0
    with pytest.raises(CredentialUnavailable):
        client.run(MODEL, datetime.max.replace(tzinfo=UTC), str(uuid.uuid4()))


def test_builds_that_cannot_be_read_stop_no_search(client_stand: Stand, emulator: Emulator) -> None:
    """Found by a security test. Some services of .NET write a missing time as the first or the last one of all."""
    requester = client_stand.pipelines.requester(client_stand.request, client_stand.deadline)
    shown = {"reason": "manual", "sourceBranch": "refs/heads/main", "requestedBy": {"id": requester}}
    ours = shown | {"templateParameters": dict(client_stand.request.parameters)}
    builds = [
        shown | {"id": 1, "parameters": "[" * 100_000},
        shown | {"id": 2, "templateParameters": {"runId": "DEEP"}},
        ours | {"id": 3, "queueTime": "0001-01-01T00:00:00"},
        ours | {"id": 4, "queueTime": "9999-12-31T23:59:59.9999999Z"},
    ]
    page = json.dumps({"value": builds}).replace('"DEEP"', "[" * 900 + "]" * 900)
    emulator.plan(Fault(accept=False, match=Match(method="GET", path="/_apis/build/builds$"), body=page))
    assert client_stand.found(-timedelta(minutes=1), timedelta(minutes=1)) == [3, 4]


class TestPreview:
    @pytest.fixture(autouse=True)
    def nothing_is_queued(self, emulator: Emulator) -> Iterator[None]:
        yield
        assert emulator.books.runs == ()

    def preview(self, stand: Stand, **changes: Any) -> str:
        assert isinstance(stand.pipelines, PipelinesClient)
        return stand.pipelines.preview(stand.request._replace(**changes), stand.deadline)

    def test_a_preview_returns_the_yaml_that_would_run(self, client_stand: Stand, emulator: Emulator) -> None:
        document = yaml.safe_load(self.preview(client_stand, pipeline="model-evaluation"))
        assert {"script": "echo runId=r"} in document["stages"][0]["jobs"][0]["steps"]
        (asked,) = [request for request in emulator.books.requests if request.method == "POST"]
        assert asked.path.endswith("/pipelines/11/preview")
        validate("ado_run_request", asked.body)

    @pytest.mark.parametrize(
        ("changes", "words", "not_found"),
        [
            ({"parameters": {"run": "r"}}, "Unexpected parameter 'run'", False),
            ({"pipeline": "model-evaluations"}, "did you mean 'model-evaluation'", True),
        ],
    )
    def test_a_preview_can_be_refused(
        self, client_stand: Stand, changes: dict[str, Any], words: str, not_found: bool
    ) -> None:
        with pytest.raises(RequestRefused, match=words) as caught:
            self.preview(client_stand, **changes)
        assert caught.value.not_found is not_found

    @pytest.mark.parametrize(
        ("seen", "error"),
        [
            ({"status": 403}, PermissionDenied),
            ({"status": 203, "body": "<html></html>"}, CredentialRejected),
            ({"status": 500}, RequestNotSent),
            ({"drop": True}, RequestNotSent),
            ({"status": 200, "body": {}}, RequestNotSent),
        ],
    )
    def test_a_failed_preview_never_counts_as_a_lost_answer(
        self, client_stand: Stand, emulator: Emulator, seen: dict[str, Any], error: type[AzureDevOpsError]
    ) -> None:
        emulator.plan(Fault(accept=False, match=Match(path="/preview$"), **seen))
        with pytest.raises(error):
            self.preview(client_stand)


@pytest.mark.parametrize("version", ["7.0", "6.0-preview.1"])
def test_every_request_names_the_configured_version(
    client_stand: Stand, emulator: Emulator, clock: ManualClock, version: str
) -> None:
    with closing(RequestsTransport(1)) as transport:
        credential = pat_from_environment(lambda: secret("pat"))
        pipelines = PipelinesClient(credential, transport, api_version=version, clock=clock)
        named, deadline = client_stand.request._replace(pipeline="model-evaluation"), client_stand.deadline
        pipelines.preview(named, deadline)
        run = pipelines.run(named, deadline, str(uuid.uuid4()))
        [*pipelines.builds(named, clock(), clock(), deadline)]
        pipelines.tag(named, run, ["a"], deadline)
        pipelines.cancel(named, run, deadline)
    asked = [request for request in emulator.books.requests if not request.path.endswith("/connectionData")]
    assert [parse_qs(request.query)["api-version"] for request in asked] == [[version]] * 6


def test_only_requests_for_runs_have_the_orchestration_id(
    client_stand: Stand, emulator: Emulator, clock: ManualClock
) -> None:
    sent: list[HttpRequest] = []
    with closing(RequestsTransport(1)) as transport:

        def record(request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
            sent.append(request)
            return transport(request, authorization, timeout_seconds)

        pipelines = PipelinesClient(pat_from_environment(lambda: secret("pat")), record, clock=clock)
        request, deadline, own_id = client_stand.request, client_stand.deadline, str(uuid.uuid4())
        named = request._replace(pipeline="model-evaluation")
        run = pipelines.run(named, deadline, own_id)
        pipelines.preview(named, deadline)
        [*pipelines.builds(named, clock(), clock(), deadline)]
        pipelines.build(named, run.id, deadline)
        pipelines.skipped_stages(named, run.id, deadline)
        pipelines.tag(named, run, ["a"], deadline)
        pipelines.cancel(named, run, deadline)
    assert len(sent) == 9
    for one in sent:
        is_run = one.method == "POST" and "/runs?" in one.url
        assert one.extra_headers.get("X-VSS-E2EID") == (own_id if is_run else None), one.url


def test_a_run_is_tagged_and_canceled(client_stand: Stand, emulator: Emulator) -> None:
    pipelines, request, deadline = client_stand.pipelines, client_stand.request, client_stand.deadline
    run = client_stand.run()
    pipelines.tag(request, run, ["aml-run:r", "model:a b:1", "event:ü"], deadline)
    pipelines.cancel(request, run, deadline)
    (queued,) = emulator.books.runs
    assert (sorted(queued.tags), queued.state) == (["aml-run:r", "event:ü", "model:a b:1"], "canceling")
    assert [(asked.method, asked.path.rpartition("/")[2]) for asked in emulator.books.requests] == [
        ("POST", "runs"),
        ("POST", "tags"),
        ("PATCH", str(run.id)),
    ]


def test_the_pipelines_of_the_project_are_listed(client_stand: Stand, emulator: Emulator) -> None:
    assert isinstance(client_stand.pipelines, PipelinesClient)
    pipelines = client_stand.pipelines.list_pipelines(client_stand.request, client_stand.deadline)
    assert pipelines[r"\mlops\release\smoke-test"] == 13
    assert len(pipelines) == len(emulator.declaration.pipelines)


IDS = {("contoso", "mlops"): 1, ("contoso", "research"): 2, ("fabrikam", "mlops"): 3, ("fabrikam", "research"): 4}


class Organizations:
    """A transport to two organizations with two projects each. All have a pipeline of the same name, but another ID."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        organization, project = request.url.removeprefix("https://dev.azure.com/").split("/")[:2]
        if request.method == "GET":
            pipeline = {"id": IDS[organization, project], "name": "Evaluation", "folder": "\\"}
            return HttpResponse(200, {}, json.dumps({"count": 1, "value": [pipeline]}).encode())
        self.started.append(request.url.partition("?")[0])
        return HttpResponse(200, {}, json.dumps({"id": 100, "url": "https://x"}).encode())


def test_the_same_name_in_four_projects_is_four_pipelines() -> None:
    organizations = Organizations()
    client = PipelinesClient(pat_from_environment(lambda: secret("pat")), organizations, clock=(clock := ManualClock()))
    wanted = []
    for (organization, project), pipeline_id in list(IDS.items()) * 2:
        url = f"https://dev.azure.com/{organization}"
        client.run(RunRequest(url, project, "evaluation", "main"), clock() + timedelta(seconds=10), str(uuid.uuid4()))
        wanted.append(f"{url}/{project}/_apis/pipelines/{pipeline_id}/runs")
    assert organizations.started == wanted
