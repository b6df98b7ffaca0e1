"""The client beside the fake that stands for it, and one pipeline name in many projects."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

import pytest

from devstack.ado import Emulator, Fault, load_declaration, serve
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import RunRequest
from shared.credentials import pat_from_environment
from shared.errors import AnswerLost
from shared.http.message import HttpRequest, HttpResponse
from shared.http.transport import RequestsTransport
from tests.support.canaries import secret
from tests.support.clock import ManualClock
from tests.support.fakes import LOST, SKEW, FakePipelines

MODEL = RunRequest("https://dev.azure.com/contoso", "mlops", 11, "main", {"runId": "r", "experimentName": "train"})


@dataclass
class Stand:
    """The client and the emulator, or the fake; the server's clock is ``SKEW`` ahead of ours."""

    clock: ManualClock
    pipelines: PipelinesClient | FakePipelines
    request: RunRequest
    lose_an_answer: Callable[[], object]

    @property
    def deadline(self) -> datetime:
        return self.clock() + timedelta(seconds=10)

    def found(self, since: timedelta, until: timedelta) -> list[int]:
        """The runs from this long before to this long after the present moment, by our clock."""
        now = self.clock()
        return [run.id for run in self.pipelines.find_runs(self.request, now + since, now + until, self.deadline)]


@pytest.fixture
def client_stand(clock: ManualClock) -> Iterator[Stand]:
    emulator = Emulator(load_declaration(), pats={secret("pat")}, clock=lambda: clock() + SKEW)
    transport = RequestsTransport(1)
    client = PipelinesClient(pat_from_environment(lambda: secret("pat")), transport, clock=clock)
    with serve(emulator) as served:
        request = replace(MODEL, organization_url=served.organization_url)
        yield Stand(clock, client, request, lambda: emulator.plan(Fault(accept=True, drop=True)))
        transport.close()


@pytest.fixture(params=["client", "fake"])
def stand(request: pytest.FixtureRequest, clock: ManualClock) -> Stand:
    if request.param == "client":
        return cast("Stand", request.getfixturevalue("client_stand"))
    fake = FakePipelines(clock)
    return Stand(clock, fake, MODEL, lambda: fake.plan.append(LOST))


class TestBoth:
    SECOND = timedelta(seconds=1)

    def test_a_run_is_found_in_the_time_of_the_servers_clock(self, stand: Stand) -> None:
        run = stand.pipelines.run(stand.request, stand.deadline)
        assert stand.found(timedelta(), SKEW) == [run.id]
        assert stand.found(timedelta(), SKEW - self.SECOND) == []
        assert stand.found(SKEW + self.SECOND, SKEW * 2) == []

    def test_one_with_other_parameters_is_not(self, stand: Stand) -> None:
        other = replace(stand.request, parameters={"runId": "other", "experimentName": "train"})
        stand.pipelines.run(other, stand.deadline)
        assert stand.found(-SKEW, SKEW) == []

    def test_one_whose_answer_was_lost_is(self, stand: Stand) -> None:
        stand.lose_an_answer()
        with pytest.raises(AnswerLost):
            stand.pipelines.run(stand.request, stand.deadline)
        second = stand.pipelines.run(stand.request, stand.deadline)
        first_found, second_found = stand.found(-SKEW, SKEW)
        assert first_found < second_found == second.id


IDS = {("contoso", "mlops"): 1, ("contoso", "research"): 2, ("fabrikam", "mlops"): 3, ("fabrikam", "research"): 4}


class Organizations:
    """A transport to two organizations of two projects, each with a pipeline of the same name and an id of its own."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        organization, project = request.url.removeprefix("https://dev.azure.com/").split("/")[:2]
        if request.method == "GET":
            pipeline = {"id": IDS[organization, project], "name": "Evaluation", "folder": "\\"}
            return HttpResponse(200, {}, json.dumps({"count": 1, "value": [pipeline]}).encode())
        self.started.append(request.url.partition("?")[0])
        return HttpResponse(200, {}, json.dumps({"id": 100, "url": "https://x"}).encode())


def test_one_name_in_two_projects_of_two_organizations_is_four_pipelines() -> None:
    organizations = Organizations()
    client = PipelinesClient(pat_from_environment(lambda: secret("pat")), organizations, clock=(clock := ManualClock()))
    wanted = []
    for (organization, project), pipeline_id in list(IDS.items()) * 2:
        url = f"https://dev.azure.com/{organization}"
        client.run(RunRequest(url, project, "evaluation", "main"), clock() + timedelta(seconds=10))
        wanted.append(f"{url}/{project}/_apis/pipelines/{pipeline_id}/runs")
    assert organizations.started == wanted
