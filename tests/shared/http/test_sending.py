"""How long a request may take, what is tried again, and when the gate is looked at."""

from datetime import timedelta

import pytest

from shared.errors import RequestNotSent, Throttled
from shared.http.message import HttpRequest, HttpResponse
from shared.http.sending import Sender
from shared.http.throttle import ThrottleGate
from tests.support.clock import ManualClock

ORGANIZATION = "https://dev.azure.com/contoso"
OK = HttpResponse(200, {}, b"{}")


class Stand:
    """A sender over a transport that notes the time it is given, and finds no connection as often as it is told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.gate = ThrottleGate(clock)
        self.failures = 0
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
        return OK

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.gate.close(ORGANIZATION, self.closed_while_asleep)


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
def test_a_request_may_take_what_is_left_and_15_seconds_at_most(
    stand: Stand, left: float, failures: int, given: list[float]
) -> None:
    stand.failures = failures
    assert stand.send(left) == OK
    assert stand.given == given


@pytest.mark.parametrize(
    ("left", "failures", "sent"),
    [(0.19, 0, 0), (-5, 0, 0), (0.44, 1, 1), (60, 4, 4)],
    ids=["no time", "long past", "no time for a second try", "four tries"],
)
def test_it_is_not_sent(stand: Stand, left: float, failures: int, sent: int) -> None:
    stand.failures = failures
    with pytest.raises(RequestNotSent):
        stand.send(left)
    assert len(stand.given) == sent


def test_the_gate_is_looked_at_before_every_try(stand: Stand) -> None:
    """Another thread may have been asked for a pause while this one waited to try again."""
    stand.failures = 1
    stand.closed_while_asleep = 30
    with pytest.raises(Throttled):
        stand.send(25)
    assert len(stand.given) == 1
