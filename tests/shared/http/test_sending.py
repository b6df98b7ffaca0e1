"""The time for a request, the retries, and the checks of the throttle gate."""

import json
from contextlib import nullcontext, suppress
from datetime import timedelta

import pytest

from shared.errors import AnswerLost, AzureDevOpsError, Paused, RequestNotSent, Throttled
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from tests.support.clock import ManualClock

ORGANIZATION = "https://dev.azure.com/contoso"
OK = HttpResponse(200, {}, b"{}")


class Stand:
    """A sender with a transport that records its timeouts and fails to connect ``failures`` times."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.gate = ThrottleGate(clock)
        self.failures = 0
        self.answer: HttpResponse | Exception = OK
        self.given: list[float] = []
        self.closed_while_asleep = 0.0

    def send(self, seconds: float) -> HttpResponse:
        sender = Sender(self._transport, self.gate, clock=self.clock, sleep=self._sleep)
        deadline = self.clock() + timedelta(seconds=seconds)
        return sender.send(ORGANIZATION, HttpRequest("GET", ORGANIZATION), "Basic x", deadline)

    def _transport(self, request: HttpRequest, authorization: str, timeout_seconds: float) -> HttpResponse:
        self.given.append(timeout_seconds)
        if len(self.given) <= self.failures:
            raise RequestNotSent("no connection")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.gate.close(ORGANIZATION, "Basic x", self.closed_while_asleep)


@pytest.fixture
def stand(clock: ManualClock) -> Stand:
    return Stand(clock)


@pytest.mark.parametrize(
    ("left", "failures", "given"),
    [
        (60, 0, [15]),
        (7, 0, [7]),
        (0.2, 0, [0.2]),
        (10, 2, [10, 9.75, 9.25]),
        (60, 3, [15, 15, 15, 15]),
    ],
)
def test_a_request_may_take_the_remaining_time_but_at_most_15_seconds(
    stand: Stand, left: float, failures: int, given: list[float]
) -> None:
    stand.failures = failures
    assert stand.send(left) == OK
    assert stand.given == given


@pytest.mark.parametrize(
    ("left", "failures", "sent"),
    [(0.19, 0, 0), (-5, 0, 0), (0.44, 1, 1), (60, 4, 4)],
    ids=["no time", "long past", "no time for a second attempt", "four attempts"],
)
def test_a_request_is_not_sent_without_enough_time(stand: Stand, left: float, failures: int, sent: int) -> None:
    stand.failures = failures
    with pytest.raises(RequestNotSent):
        stand.send(left)
    assert len(stand.given) == sent


def test_the_gate_is_checked_before_every_attempt(stand: Stand) -> None:
    """While this thread waits to try again, another thread may have received a request for a pause."""
    stand.failures = 1
    stand.closed_while_asleep = 30
    with pytest.raises(Throttled):
        stand.send(25)
    assert len(stand.given) == 1


def error(status: int, type_key: str) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps({"typeKey": type_key}).encode())


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (OK, False),
        (AnswerLost("timeout"), True),
        (RequestNotSent("no connection"), True),
        (HttpResponse(500, {}, b"{}"), True),
        (HttpResponse(503, {}, b"<html>"), True),
        (error(500, "SqlTimeoutException"), True),
        (error(500, "PipelineNotFoundException"), False),
        (error(500, "RunOrchestrationExistsException"), False),
        (HttpResponse(400, {}, b"{}"), False),
        (HttpResponse(401, {}, b""), False),
        (HttpResponse(200, {"content-type": "text/html"}, b"<html>"), False),
    ],
)
def test_the_gate_closes_after_five_requests_without_an_answer(
    stand: Stand, answer: HttpResponse | Exception, pauses: bool
) -> None:
    """An error of a type that is known is an answer, whatever its status."""
    stand.answer = answer
    for _ in range(5):
        with suppress(AzureDevOpsError):
            stand.send(0.3)
    stand.answer = OK
    with pytest.raises(Paused) if pauses else nullcontext():
        stand.send(25)
    assert len(stand.given) == (5 if pauses else 6)


def test_a_request_without_time_left_says_nothing_of_the_server(stand: Stand) -> None:
    for _ in range(9):
        with pytest.raises(RequestNotSent):
            stand.send(0)
    assert stand.send(25) == OK


def test_a_request_without_time_left_is_not_the_trial(stand: Stand, clock: ManualClock) -> None:
    """After the pause, the next request would have waited 15 s for the outcome of the trial, which was never sent."""
    stand.answer = AnswerLost("timeout")
    for _ in range(5):
        with pytest.raises(AnswerLost):
            stand.send(25)
    clock.advance(5)
    with pytest.raises(RequestNotSent):
        stand.send(0)
    stand.answer = OK
    assert stand.send(25) == OK
