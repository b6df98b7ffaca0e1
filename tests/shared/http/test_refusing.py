"""Azure DevOps refuses everything for a minute: soon after it, the events of this time are done."""

import random
from collections.abc import Callable
from datetime import timedelta
from heapq import heappop, heappush
from itertools import count

import pytest

from shared.errors import Throttled
from shared.http.throttle import ThrottleGate
from tests.support.clock import ManualClock

A, APP = "https://dev.azure.com/contoso", "Bearer x"
EVENTS, ACCEPTS_UNTIL, REFUSES_UNTIL, RETRY_AFTER = 500, 2.0, 62.0, 5.0


class World:
    """Two processes that share evenly arriving events. Times are in seconds after the first event.

    :param done_at: when the last event was done.
    """

    def __init__(self, seed: int) -> None:
        self._chance, self._clock, self._number = random.Random(seed), ManualClock(), count()
        self._begin = self._clock.now
        self._gates = [ThrottleGate(self._clock) for _ in range(2)]
        self._planned: list[tuple[float, int, Callable[[ThrottleGate], None], ThrottleGate]] = []
        self.done_at = self._at = 0.0

    def play(self) -> None:
        for event in range(EVENTS):
            self._come(REFUSES_UNTIL * event / EVENTS)
        while self._planned:
            self._at, _, act, gate = heappop(self._planned)
            self._clock.now = self._begin + timedelta(seconds=self._at)
            act(gate)

    def _plan(self, after: float, act: Callable[[ThrottleGate], None], gate: ThrottleGate) -> None:
        heappush(self._planned, (self._at + after, next(self._number), act, gate))

    def _come(self, after: float) -> None:
        """Plan a delivery or message, to either of the processes."""
        self._plan(after, self._begin_work, self._chance.choice(self._gates))

    def _begin_work(self, gate: ThrottleGate) -> None:
        if seconds := gate.admit(A, APP):
            self._come(seconds + self._chance.random())  # the host looks for messages each second
        else:
            self._plan(0.05 * self._chance.random(), self._send, gate)  # after the claim

    def _send(self, gate: ThrottleGate) -> None:
        try:
            gate.check(A, APP)
        except Throttled:
            self._come(gate.admit(A, APP, later=True))
            return
        is_accepted = self._at < ACCEPTS_UNTIL or self._at >= REFUSES_UNTIL
        self._plan(0.2 * self._chance.random(), self._done if is_accepted else self._refused, gate)

    def _refused(self, gate: ThrottleGate) -> None:
        gate.close(A, APP, RETRY_AFTER, refused=True)
        self._come(gate.admit(A, APP, later=True))

    def _done(self, _: ThrottleGate) -> None:
        self.done_at = self._at


@pytest.mark.parametrize("seed", range(10))
def test_what_waits_is_done_within_half_a_minute(seed: int) -> None:
    world = World(seed)
    world.play()
    assert REFUSES_UNTIL < world.done_at <= REFUSES_UNTIL + 30
