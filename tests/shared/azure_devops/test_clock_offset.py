"""The offset of Azure DevOps' clock, against the emulator behind a proxy that makes its clock wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from devstack.ado import Emulator, load_declaration, serve
from shared.azure_devops.client import PipelinesClient
from shared.azure_devops.runs import RunRequest
from shared.clock import utc_now
from shared.credentials import pat_from_environment
from shared.errors import CredentialRejected, RequestNotSent
from shared.http.transport import RequestsTransport
from tests.support.canaries import secret
from tests.support.services.raw_server import answering, server
from tests.support.services.shifted_clock import shifted

MODEL = RunRequest("unknown", "mlops", 11, "main", {"runId": "r", "experimentName": "train"})
ORCHESTRATION_ID = "0f0f0f0f-1111-5222-8333-444444444444"
SLACK = timedelta(seconds=1.5)


@contextmanager
def client(pat: str = "pat") -> Iterator[PipelinesClient]:
    transport = RequestsTransport(1)
    yield PipelinesClient(pat_from_environment(lambda: secret(pat)), transport)
    transport.close()


@contextmanager
def azure_devops(shift: timedelta | None) -> Iterator[tuple[RunRequest, list[bytes]]]:
    """Yield a request for a run, and the list of HTTP requests."""
    with (
        serve(Emulator(load_declaration(), pats={secret("pat")})) as served,
        shifted(served.port, shift) as (port, requests),
    ):
        yield MODEL._replace(organization_url=f"http://127.0.0.1:{port}/contoso"), requests


def soon() -> datetime:
    return utc_now() + timedelta(seconds=30)


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_the_offset_is_measured_by_the_request_for_a_run(minutes: int) -> None:
    shift = timedelta(minutes=minutes)
    with azure_devops(shift) as (request, requests), client() as pipelines:
        assert pipelines.clock_offset(request) == timedelta()
        pipelines.run(request, soon(), ORCHESTRATION_ID)
        assert abs(pipelines.clock_offset(request) - shift) < SLACK
        assert len(requests) == 1


def test_each_organization_has_its_own_offset() -> None:
    hour = timedelta(hours=1)
    with azure_devops(hour) as (ahead, _), azure_devops(-hour) as (behind, _), client() as pipelines:
        for request in (ahead, behind):
            pipelines.run(request, soon(), ORCHESTRATION_ID)
        assert abs(pipelines.clock_offset(ahead) - hour) < SLACK
        assert abs(pipelines.clock_offset(behind) + hour) < SLACK
        assert pipelines.clock_offset(MODEL) == timedelta()


def test_an_answer_without_a_date_changes_nothing() -> None:
    with azure_devops(None) as (request, _), client() as pipelines:
        pipelines.run(request, soon(), ORCHESTRATION_ID)
        assert pipelines.clock_offset(request) == timedelta()


def test_a_refusal_shows_the_clock_too() -> None:
    hour = timedelta(hours=1)
    with azure_devops(hour) as (request, _), client("wrong") as pipelines:
        with pytest.raises(CredentialRejected):
            pipelines.run(request, soon(), ORCHESTRATION_ID)
        assert abs(pipelines.clock_offset(request) - hour) < SLACK


def test_an_answer_that_is_lost_does_not_show_the_clock() -> None:
    head = b"HTTP/1.1 200 X\r\nDate: Fri, 20 Nov 2020 12:00:00 GMT\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
    with server(answering(head)) as url, client() as pipelines:
        request = MODEL._replace(organization_url=url)
        with pytest.raises(RequestNotSent):
            pipelines.list_pipelines(request, soon())
        assert pipelines.clock_offset(request) == timedelta()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_search_is_in_the_time_of_the_server(minutes: int) -> None:
    """Behind the proxy, the emulator's clock is right. So by our clock, a run is queued ten minutes from now."""
    shift, minute = timedelta(minutes=minutes), timedelta(minutes=1)
    with azure_devops(shift) as (request, _), client() as pipelines:
        run = pipelines.run(request, soon(), ORCHESTRATION_ID)
        queued_at = utc_now() - shift
        (found,), *_ = pipelines.builds(request, queued_at - minute, queued_at + minute, soon())
        assert found.run.id == run.id
        assert found.queued_at is not None
        assert abs(found.queued_at - queued_at) < minute
